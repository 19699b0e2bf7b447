package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
)

// entry is what the handler itself knows of one request.
type entry struct {
	method, path   string
	status         int
	goid           uint64
	startNs, endNs int64
	notes          []note
}

// journal keeps entries in memory, so that writing them down costs the
// requests nothing, until they are flushed to its file.
type journal struct {
	mutex   sync.Mutex
	file    *os.File
	entries []entry
}

func openJournal(path string) (*journal, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &journal{file: file, entries: make([]entry, 0, 1<<16)}, nil
}

// flush appends the entries to the file, one line each:
// id method path status goid startNs endNs [what=ns]...
// The id is the path's last segment if that is a number, else "-".
func (j *journal) flush() (int, error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	out := bufio.NewWriterSize(j.file, 1<<16)
	for _, e := range j.entries {
		fmt.Fprintf(out, "%s %s %s %d %d %d %d", lastNumber(e.path), e.method, e.path, e.status, e.goid, e.startNs, e.endNs)
		for _, n := range e.notes {
			fmt.Fprintf(out, " %s=%d", n.what, n.ns)
		}
		out.WriteByte('\n')
	}
	flushed := len(j.entries)
	j.entries = j.entries[:0]
	return flushed, out.Flush()
}

func lastNumber(path string) string {
	last := path[strings.LastIndexByte(path, '/')+1:]
	for _, c := range last {
		if c < '0' || c > '9' {
			return "-"
		}
	}
	if last == "" {
		return "-"
	}
	return last
}

// statusWriter remembers the status that a handler sends and what it notes. Unwrap and the
// explicit Flush and Hijack keep streaming, upgrades and sendfile working.
type statusWriter struct {
	http.ResponseWriter
	status int
	notes  []note
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// record wraps a handler so that each request but /flush leaves an entry. The times are
// the handler's own: net/http hands a small response to the kernel after endNs.
func (j *journal) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/flush" {
			next.ServeHTTP(w, r)
			return
		}
		e := entry{method: r.Method, path: r.URL.Path, goid: goid(), startNs: nanotime()}
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		e.status, e.notes, e.endNs = s.status, s.notes, nanotime()
		j.mutex.Lock()
		j.entries = append(j.entries, e)
		j.mutex.Unlock()
	})
}
