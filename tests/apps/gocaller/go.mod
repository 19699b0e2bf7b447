module gocaller

go 1.19
