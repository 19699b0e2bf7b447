module podapp

go 1.21
