package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// api is the state that handlers share.
type api struct {
	downstream string
	client     *http.Client
	dir        string // holds the files that /file serves
	fileMutex  sync.Mutex
	waits      *waits
}

// routes registers every handler under its name and under its name followed
// by anything, so that a client can put an id into the path.
func (a *api) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handlers := map[string]http.HandlerFunc{
		"hello": hello, "status": status, "echo": echo, "spin": spin, "sleep": sleep,
		"down": a.down, "stream": stream, "sse": sse, "big": big, "file": a.file,
		"goid": goidOf, "upgrade": upgrade, "abort": abort,
	}
	for name, handler := range a.waitRoutes() {
		handlers[name] = handler
	}
	for name, handler := range handlers {
		mux.HandleFunc("/"+name, handler)
		mux.HandleFunc("/"+name+"/", handler)
	}
	return mux
}

// number reads an integer from the query, or gives its default.
func number(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") }

// status answers with the code that is the last segment of the path.
func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	if err != nil || code < 200 || code > 999 {
		http.Error(w, "want /status/{200..999}", http.StatusBadRequest)
		return
	}
	w.WriteHeader(code)
	if code != http.StatusNoContent && code != http.StatusNotModified {
		fmt.Fprintf(w, "%d\n", code)
	}
}

// echo sends the request's body back after it has been read in full.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// spin burns ?us= microseconds of CPU in user mode.
func spin(w http.ResponseWriter, r *http.Request) {
	for end := nanotime() + int64(number(r, "us", 100))*1000; nanotime() < end; {
	}
	io.WriteString(w, "spun\n")
}

// sleep parks the goroutine for ?ms= milliseconds.
func sleep(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(number(r, "ms", 10)) * time.Millisecond)
	io.WriteString(w, "slept\n")
}

// down calls the downstream, with its own query if it has one, and answers with
// its status and body.
func (a *api) down(w http.ResponseWriter, r *http.Request) {
	if a.downstream == "" {
		http.Error(w, "no -downstream given", http.StatusNotImplemented)
		return
	}
	url := a.downstream
	if r.URL.RawQuery != "" {
		url += "?" + r.URL.RawQuery
	}
	start := nanotime()
	answer, err := a.client.Get(url)
	noted(w, "down", nanotime()-start)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

func flush(w http.ResponseWriter) {
	for {
		switch v := w.(type) {
		case http.Flusher:
			v.Flush()
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return
		}
	}
}

// stream sends ?chunks= chunks, ?ms= milliseconds apart, each flushed.
func stream(w http.ResponseWriter, r *http.Request) {
	pause := time.Duration(number(r, "ms", 5)) * time.Millisecond
	for i := 0; i < number(r, "chunks", 5); i++ {
		if i > 0 {
			time.Sleep(pause)
		}
		fmt.Fprintf(w, "chunk %d\n", i)
		flush(w)
	}
}

// sse sends ?events= events, ?ms= milliseconds apart, as an event stream.
func sse(w http.ResponseWriter, r *http.Request) {
	pause := time.Duration(number(r, "ms", 20)) * time.Millisecond
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for i := 0; i < number(r, "events", 10); i++ {
		if i > 0 {
			time.Sleep(pause)
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: tick\n\n", i); err != nil {
			return
		}
		flush(w)
	}
}

// big sends ?bytes= bytes from memory.
func big(w http.ResponseWriter, r *http.Request) {
	left := number(r, "bytes", 1<<20)
	w.Header().Set("Content-Length", strconv.Itoa(left))
	block := make([]byte, 32<<10)
	for left > 0 {
		n := len(block)
		if n > left {
			n = left
		}
		if _, err := w.Write(block[:n]); err != nil {
			return
		}
		left -= n
	}
}

// file sends ?bytes= bytes from a file, which net/http does by sendfile.
func (a *api) file(w http.ResponseWriter, r *http.Request) {
	size := number(r, "bytes", 1<<20)
	path := filepath.Join(a.dir, strconv.Itoa(size))
	a.fileMutex.Lock()
	_, err := os.Stat(path)
	if err != nil {
		err = os.WriteFile(path, make([]byte, size), 0o600)
	}
	a.fileMutex.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if s, ok := w.(*statusWriter); ok {
		w = s.ResponseWriter // only net/http's own writer takes the sendfile way
	}
	http.ServeFile(w, r, path)
}

// goidOf answers with the id of the goroutine that serves the request.
func goidOf(w http.ResponseWriter, _ *http.Request) {
	id := strconv.FormatUint(goid(), 10)
	w.Header().Set("X-Goid", id)
	io.WriteString(w, id+"\n")
}

// hijack takes the connection over from net/http.
func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	if s, ok := w.(*statusWriter); ok {
		w = s.ResponseWriter
	}
	h, ok := w.(http.Hijacker)
	if !ok {
		return nil, nil, fmt.Errorf("the connection cannot be taken over")
	}
	return h.Hijack()
}

// upgrade switches protocols and then echoes lines until the client closes.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	if s, ok := w.(*statusWriter); ok {
		s.status = http.StatusSwitchingProtocols
	}
	conn, rw, err := hijack(w)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		rw.WriteString(line)
		rw.Flush()
	}
}

// abort closes the connection without a response.
func abort(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := hijack(w); err == nil {
		conn.Close()
	}
}
