// Podapp is both ends of a service in a cluster: a server that says which pod
// answered, and a client that sends an exact number of requests and tells who
// answered them.
//
//	podapp serve ADDRESS                 serves / and /sleep?ms=N; /exit ends the process
//	                                     with 3, as a crash does, and /done with 0
//	podapp load URL COUNT RATE           sends COUNT requests at RATE a second, prints JSON
//	podapp push ADDRESS BYTES SECONDS    sends one body to /sink, then holds the connection
//	podapp wait                          does nothing until it is told to end
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		go serve(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "load":
		count, err := strconv.Atoi(os.Args[3])
		if err != nil {
			log.Fatalf("a count of requests: %v", err)
		}
		rate, err := strconv.ParseFloat(os.Args[4], 64)
		if err != nil || rate <= 0 {
			log.Fatalf("no rate: %s", os.Args[4])
		}
		load(os.Args[2], count, rate)
		return
	case len(os.Args) == 5 && os.Args[1] == "push":
		bytes, err := strconv.ParseInt(os.Args[3], 10, 64)
		if err != nil {
			log.Fatalf("a count of bytes: %v", err)
		}
		seconds, err := strconv.Atoi(os.Args[4])
		if err != nil {
			log.Fatalf("a count of seconds: %v", err)
		}
		push(os.Args[2], bytes, time.Duration(seconds)*time.Second)
		return
	case len(os.Args) == 2 && os.Args[1] == "wait":
	default:
		log.Fatal("usage: podapp serve ADDRESS | load URL COUNT RATE | push ADDRESS BYTES SECONDS | wait")
	}
	<-stop
}

func serve(address string) {
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	http.HandleFunc("/sleep", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil || ms < 0 {
			http.Error(w, "how many milliseconds?", http.StatusBadRequest)
			return
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Fprintln(w, name)
	})
	http.HandleFunc("/sink", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, name)
	})
	http.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	http.HandleFunc("/done", func(http.ResponseWriter, *http.Request) { os.Exit(0) })
	log.Fatal(http.ListenAndServe(address, nil))
}

// tally is what the client saw. Answers are by the pod that gave them.
type tally struct {
	Sent    int            `json:"sent"`
	Answers map[string]int `json:"answers"`
	Failed  int            `json:"failed"`
	Error   string         `json:"error,omitempty"`
}

// load keeps to its times whether answers come or not.
func load(url string, count int, rate float64) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 16,
		// Services choose a pod for each connection.
		IdleConnTimeout: time.Second,
		DialContext:     dial,
	}}
	seen := tally{Sent: count, Answers: map[string]int{}}
	var lock sync.Mutex
	var all sync.WaitGroup
	begin := time.Now()
	for i := 0; i < count; i++ {
		time.Sleep(time.Until(begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))))
		all.Add(1)
		go func(number int) {
			defer all.Done()
			name, err := ask(client, url, number)
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				seen.Failed++
				seen.Error = err.Error()
				return
			}
			seen.Answers[name]++
		}(i)
	}
	all.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		log.Fatal(err)
	}
}

// dial tries again: a service's rules lag behind its pods, and on a connection
// that was refused no request has been sent.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	one := net.Dialer{Timeout: time.Second}
	for {
		connection, err := one.DialContext(ctx, network, address)
		if err == nil {
			return connection, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ask closes every eighth connection, so that a service's pods all have a turn.
func ask(client *http.Client, url string, number int) (string, error) {
	// Net/http sends a GET again by itself when its connection breaks, a POST not.
	request, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		return "", err
	}
	request.Close = number%8 == 7
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", answer.StatusCode)
	}
	return strings.TrimSpace(string(text)), nil
}

// push prints its port once its body has been taken.
func push(address string, bytes int64, hold time.Duration) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "POST /sink HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", address, bytes)
	block := make([]byte, 64<<10)
	for left := bytes; left > 0; {
		n, err := connection.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			log.Fatal(err)
		}
		left -= int64(n)
	}
	if _, err := connection.Read(block); err != nil {
		log.Fatal(err)
	}
	fmt.Println(connection.LocalAddr().(*net.TCPAddr).Port)
	time.Sleep(hold)
}
