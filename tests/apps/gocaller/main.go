// Gocaller is a Go server whose handlers call a downstream, each in one of the
// ways in which Go programs do. Two of it make a pair: one is the downstream of
// the other. Each answer names the ?id= that was asked for, so that a wrong one
// is seen.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// caller is the state that handlers share.
type caller struct {
	downstream string // host:port
	client     *http.Client
	idle       chan net.Conn // connections of /own that nobody uses
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	downstream := flag.String("downstream", "", "address of another gocaller")
	flag.Parse()
	c := &caller{downstream: *downstream, idle: make(chan net.Conn, 256)}
	c.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	for name, handler := range map[string]http.HandlerFunc{
		"/hello": hello, "/sleep": sleep, "/call": c.call, "/own": c.own,
		"/fanout": c.fanout, "/twice": c.twice, "/deep": c.deep,
		"/pass": c.pass, "/call/": c.call,
	} {
		http.HandleFunc(name, handler)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

func number(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

func hello(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%d\n", number(r, "id", 0)) }

// sleep answers after ?ms= milliseconds.
func sleep(w http.ResponseWriter, r *http.Request) {
	time.Sleep(time.Duration(number(r, "ms", 0)) * time.Millisecond)
	hello(w, r)
}

// get calls the downstream by net/http, which answers with id after ms.
func (c *caller) get(id, ms int) (int, error) {
	answer, err := c.client.Get(fmt.Sprintf("http://%s/sleep?id=%d&ms=%d", c.downstream, id, ms))
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func give(w http.ResponseWriter, id int, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintf(w, "%d\n", id)
}

// call computes for ?spin= milliseconds and calls once, by net/http.
func (c *caller) call(w http.ResponseWriter, r *http.Request) {
	for end := time.Now().Add(time.Duration(number(r, "spin", 0)) * time.Millisecond); time.Now().Before(end); {
	}
	id, err := c.get(number(r, "id", 0), number(r, "ms", 0))
	give(w, id, err)
}

// pass calls once and hands the headers of tracing on as they came, as a proxy
// does that makes no spans.
func (c *caller) pass(w http.ResponseWriter, r *http.Request) {
	id := number(r, "id", 0)
	request, err := http.NewRequest("GET", fmt.Sprintf("http://%s/hello?id=%d", c.downstream, id), nil)
	if err != nil {
		give(w, 0, err)
		return
	}
	for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
		for _, value := range r.Header.Values(name) {
			request.Header.Add(name, value)
		}
	}
	answer, err := c.client.Do(request)
	if err == nil {
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
	}
	give(w, id, err)
}

// twice calls one after the other, and sleeps ?pause= milliseconds between.
func (c *caller) twice(w http.ResponseWriter, r *http.Request) {
	_, err := c.get(0, number(r, "ms", 0))
	time.Sleep(time.Duration(number(r, "pause", 0)) * time.Millisecond)
	id := 0
	if err == nil {
		id, err = c.get(number(r, "id", 0), number(r, "ms", 0))
	}
	give(w, id, err)
}

// fanout calls ?n= times at once, each on a goroutine of its own.
func (c *caller) fanout(w http.ResponseWriter, r *http.Request) {
	var group sync.WaitGroup
	var mutex sync.Mutex
	var failed error
	children, sum := number(r, "n", 4), 0
	for child := 0; child < children; child++ {
		group.Add(1)
		go func() {
			defer group.Done()
			id, err := c.get(number(r, "id", 0), number(r, "ms", 0))
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				failed = err
			}
			sum += id
		}()
	}
	group.Wait()
	if children > 0 {
		sum /= children
	}
	give(w, sum, failed)
}

// own calls on a connection that its own goroutine writes to and reads from.
func (c *caller) own(w http.ResponseWriter, r *http.Request) {
	var conn net.Conn
	var err error
	select {
	case conn = <-c.idle:
	default:
		if conn, err = net.Dial("tcp", c.downstream); err != nil {
			give(w, 0, err)
			return
		}
	}
	fmt.Fprintf(conn, "GET /sleep?id=%d&ms=%d HTTP/1.1\r\nHost: d\r\n\r\n", number(r, "id", 0), number(r, "ms", 0))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		conn.Close()
		give(w, 0, err)
		return
	}
	text, err := io.ReadAll(answer.Body)
	id, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	c.idle <- conn
	give(w, id, err)
}

// deep calls from ?depth= frames down a stack that had to grow for it.
func (c *caller) deep(w http.ResponseWriter, r *http.Request) {
	id, err := c.descend(number(r, "depth", 10_000), number(r, "id", 0), number(r, "ms", 0))
	give(w, id, err)
}

//go:noinline
func (c *caller) descend(depth, id, ms int) (int, error) {
	var frame [16]int
	frame[depth%16] = depth
	if depth == 0 {
		return c.get(id, ms)
	}
	got, err := c.descend(depth-1, id, ms)
	return got + frame[depth%16] - depth, err
}
