// The echo server on goroutines, for the Go column: one goroutine per connection, the same
// blocking style and the same 64-byte traffic.  usage: echo_go PORT
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func serve(connection net.Conn) {
	defer connection.Close()
	var buffer [4096]byte
	for {
		got, err := connection.Read(buffer[:])
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:got]); err != nil {
			return
		}
	}
}

func main() {
	port := "0"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(connection)
	}
}
