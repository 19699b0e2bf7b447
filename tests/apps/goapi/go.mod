module goapi

go 1.19
