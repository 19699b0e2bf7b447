package main

import _ "unsafe" // for go:linkname

// nanotime reads CLOCK_MONOTONIC in nanoseconds, the clock that the kernel and
// the load client stamp with, so that the three can be joined.
//
//go:linkname nanotime runtime.nanotime
func nanotime() int64
