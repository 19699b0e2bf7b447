package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Handlers of this file each wait or work in one known way, for ?us=
// microseconds, and note how long that really took: by the clock of the
// kernel, in the process itself.

// gapNs is how far apart two readings of the clock may be while the goroutine
// was running: more than that, and it was not.
const gapNs = 30_000

// note is one thing that a handler did, and for how long.
type note struct {
	what string
	ns   int64
}

// noted adds a note to the request's journal entry, if there is a journal.
func noted(w http.ResponseWriter, what string, ns int64) {
	if s, ok := w.(*statusWriter); ok {
		s.notes = append(s.notes, note{what, ns})
	}
}

func micros(r *http.Request) int64 { return int64(number(r, "us", 0)) * 1000 }

// busy runs in user mode for ownNs of its own time, and says also for how long
// it was kept from running meanwhile.
func busy(ownNs int64) (own, out int64) {
	last := nanotime()
	for own < ownNs {
		now := nanotime()
		if now-last < gapNs {
			own += now - last
		} else {
			out += now - last
		}
		last = now
	}
	return own, out
}

// work notes what busy says.
func work(w http.ResponseWriter, ns int64) {
	if ns == 0 {
		return
	}
	own, out := busy(ns)
	noted(w, "spin", own)
	noted(w, "out", out)
}

// timed notes how long a step took.
func timed(w http.ResponseWriter, what string, step func()) {
	start := nanotime()
	step()
	noted(w, what, nanotime()-start)
}

func done(w http.ResponseWriter) { io.WriteString(w, "done\n") }

// waits is the state that these handlers share.
type waits struct {
	redis string
	idle  chan net.Conn // connections to redis that nobody uses
	heaps sync.Mutex
	heap  *node // what the collector has to look at
}

func newWaits(redis string) *waits {
	return &waits{redis: redis, idle: make(chan net.Conn, 256)}
}

func (a *api) waitRoutes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"busy": busyFor, "nap": nap, "chan": channel, "mutex": mutex, "fanout": fanout,
		"zig": zig, "hide": hide, "deep": deep, "storm": storm, "yield": a.waits.yield,
		"crowd": a.waits.crowd, "gc": a.waits.gc, "heap": a.waits.prepare, "fsync": a.fsync,
		"redis": a.waits.askRedis, "both": a.both, "doze": doze,
	}
}

func busyFor(w http.ResponseWriter, r *http.Request) {
	work(w, micros(r))
	done(w)
}

// doze parks the goroutine on a timer.
func doze(w http.ResponseWriter, r *http.Request) {
	if ns := micros(r); ns > 0 {
		timed(w, "sleep", func() { time.Sleep(time.Duration(ns)) })
	}
	done(w)
}

// nap blocks the thread in the kernel.
func nap(w http.ResponseWriter, r *http.Request) {
	if ns := micros(r); ns > 0 {
		timed(w, "nap", func() {
			span := syscall.NsecToTimespec(ns)
			for syscall.Nanosleep(&span, &span) == syscall.EINTR {
			}
		})
	}
	done(w)
}

// answerAfter waits on a channel until another goroutine answers.
func answerAfter(w http.ResponseWriter, ns int64) {
	timed(w, "chan", func() {
		answer := make(chan struct{})
		go func() {
			time.Sleep(time.Duration(ns))
			close(answer)
		}()
		<-answer
	})
}

func channel(w http.ResponseWriter, r *http.Request) {
	if ns := micros(r); ns > 0 {
		answerAfter(w, ns)
	}
	done(w)
}

// mutex waits for a lock that another goroutine holds.
func mutex(w http.ResponseWriter, r *http.Request) {
	if ns := micros(r); ns > 0 {
		var m sync.Mutex
		m.Lock()
		go func() {
			time.Sleep(time.Duration(ns))
			m.Unlock()
		}()
		timed(w, "mutex", m.Lock)
	}
	done(w)
}

// fanout waits for four children that sleep.
func fanout(w http.ResponseWriter, r *http.Request) {
	if ns := micros(r); ns > 0 {
		timed(w, "group", func() {
			var group sync.WaitGroup
			for child := 0; child < 4; child++ {
				group.Add(1)
				go func() {
					defer group.Done()
					time.Sleep(time.Duration(ns))
				}()
			}
			group.Wait()
		})
	}
	done(w)
}

// zig computes and parks in turn, three times.
func zig(w http.ResponseWriter, r *http.Request) {
	ns := int64(number(r, "us", 2000)) * 1000
	for turn := 0; turn < 3; turn++ {
		work(w, ns)
		timed(w, "sleep", func() { time.Sleep(time.Duration(ns)) })
	}
	done(w)
}

// hide computes between two waits on channels.
func hide(w http.ResponseWriter, r *http.Request) {
	answerAfter(w, 1_000_000)
	work(w, int64(number(r, "us", 10_000))*1000)
	answerAfter(w, 1_000_000)
	done(w)
}

//go:noinline
func descend(depth int) int {
	var frame [16]int
	frame[depth%16] = depth
	if depth == 0 {
		return 0
	}
	return descend(depth-1) + frame[depth%16] - depth + 1
}

// deep makes its stack grow by a few megabytes, and answers how deep it was.
func deep(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%d\n", descend(number(r, "depth", 10_000)))
}

// storm allocates ?kb= kilobytes in small pieces, which are garbage at once.
func storm(w http.ResponseWriter, r *http.Request) {
	var keep *node
	for left := number(r, "kb", 4096); left > 0; left-- {
		for piece := 0; piece < 1024/64; piece++ {
			keep = &node{next: nil}
		}
	}
	runtime.KeepAlive(keep)
	done(w)
}

// yield is ready all the time, while another goroutine computes: it shows only
// where there is one P.
func (a *waits) yield(w http.ResponseWriter, r *http.Request) {
	if ns := micros(r); ns > 0 {
		var finished atomic.Bool
		go func() {
			busy(ns)
			finished.Store(true)
		}()
		timed(w, "yield", func() {
			for !finished.Load() {
				runtime.Gosched()
			}
		})
	}
	done(w)
}

// crowd answers at once, and leaves goroutines behind that compute for ?us= in
// all, none of them for long.
func (a *waits) crowd(w http.ResponseWriter, r *http.Request) {
	ns := micros(r)
	done(w)
	flush(w)
	const slice = 9_000_000
	for ; ns > 0; ns -= slice {
		part := ns
		if part > slice {
			part = slice
		}
		go busy(part)
	}
}

// node is 64 bytes with a pointer in it: work for the collector.
type node struct {
	next *node
	_    [7]uint64
}

// prepare keeps as much alive as lets a collection take about ?us=.
func (a *waits) prepare(w http.ResponseWriter, r *http.Request) {
	a.heaps.Lock()
	defer a.heaps.Unlock()
	a.heap = nil
	wanted := micros(r)
	for count := 10_000; ; count *= 2 {
		for made := 0; made < count; made++ {
			a.heap = &node{next: a.heap}
		}
		runtime.GC()
		start := nanotime()
		runtime.GC()
		if took := nanotime() - start; took >= wanted || count >= 5_000_000 {
			fmt.Fprintf(w, "%d\n", took)
			break
		}
	}
	// From now on only when asked.
	debug.SetGCPercent(-1)
}

// gc waits for a collection, if ?us= is given; it takes what the heap needs.
func (a *waits) gc(w http.ResponseWriter, r *http.Request) {
	if micros(r) > 0 {
		timed(w, "gc", runtime.GC)
	}
	done(w)
}

// fsync brings ?bytes= to a file's disk.
func (a *api) fsync(w http.ResponseWriter, r *http.Request) {
	size := number(r, "bytes", 0)
	if size > 0 {
		dir := os.Getenv("FILES")
		if dir == "" {
			dir = a.dir
		}
		file, err := os.CreateTemp(dir, "fsync")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer os.Remove(file.Name())
		defer file.Close()
		timed(w, "fsync", func() {
			file.Write(make([]byte, size))
			err = file.Sync()
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	done(w)
}

// askRedis waits ?us= for redis, on its own goroutine; for nothing, it pings.
func (a *waits) askRedis(w http.ResponseWriter, r *http.Request) {
	var conn net.Conn
	var err error
	select {
	case conn = <-a.idle:
	default:
		if conn, err = net.Dial("tcp", a.redis); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	command := "PING\r\n"
	if ns := micros(r); ns > 0 {
		// Not a command that waits: those end on the tick of a clock.
		command = fmt.Sprintf("DEBUG SLEEP %.6f\r\n", float64(ns)/1e9)
	}
	timed(w, "redis", func() {
		if _, err = io.WriteString(conn, command); err == nil {
			_, err = bufio.NewReader(conn).ReadString('\n')
		}
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	a.idle <- conn
	done(w)
}

// both computes, and then waits for the downstream: ?us= each.
func (a *api) both(w http.ResponseWriter, r *http.Request) {
	work(w, micros(r))
	a.down(w, r)
}
