package main

import (
	"bytes"
	"runtime"
	"strconv"
)

// goid returns the id of the calling goroutine, from the first line of its
// own stack trace ("goroutine 18 [running]:"). It is the ground truth for
// what strata reads from outside, so it must not come from the same place.
func goid() uint64 {
	var buf [64]byte
	line := buf[:runtime.Stack(buf[:], false)]
	line = bytes.TrimPrefix(line, []byte("goroutine "))
	if end := bytes.IndexByte(line, ' '); end > 0 {
		line = line[:end]
	}
	id, err := strconv.ParseUint(string(line), 10, 64)
	if err != nil {
		return 0
	}
	return id
}
