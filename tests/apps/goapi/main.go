// Goapi is the Go workload of strata's tests and demo: a net/http server whose
// handlers each do one kind of work, and which can write down what it did.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/trace"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on; :0 takes both families")
	downstream := flag.String("downstream", "", "URL that /down calls")
	redis := flag.String("redis", "", "address of the redis that /redis asks")
	journalPath := flag.String("log", "", "file for one line per request, written at SIGTERM and on GET /flush")
	tracePath := flag.String("trace", "", "file for the runtime's own execution trace, complete at SIGTERM")
	flag.Parse()

	if *tracePath != "" {
		file, err := os.Create(*tracePath)
		if err != nil {
			log.Fatal(err)
		}
		if err := trace.Start(file); err != nil {
			log.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "goapi")
	if err != nil {
		log.Fatal(err)
	}
	a := &api{downstream: *downstream, dir: dir, waits: newWaits(*redis), client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
	}}
	mux := a.routes()
	var handler http.Handler = mux
	var j *journal
	if *journalPath != "" {
		if j, err = openJournal(*journalPath); err != nil {
			log.Fatal(err)
		}
		handler = j.record(mux)
		mux.HandleFunc("/flush", func(w http.ResponseWriter, _ *http.Request) {
			n, err := j.flush()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "%d\n", n)
		})
	}

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	fmt.Printf("listening %s\n", listener.Addr())
	go func() { log.Fatal(http.Serve(listener, handler)) }()

	<-stop
	trace.Stop()
	os.RemoveAll(dir)
	if j != nil {
		if _, err := j.flush(); err != nil {
			log.Fatal(err)
		}
	}
}
