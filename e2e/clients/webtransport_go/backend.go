package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// How many ends of streams wait to be asked for.
const endsKept = 1000

// A command is a line that begins with this, first on a bidirectional stream. Every other stream is echoed.
//
//	!open bi N       opens N streams with a greeting on each, and tells what came back on them
//	!open uni N      the same, without an answer
//	!reset CODE      resets its side of this stream
//	!stop CODE       asks for no more of this stream
//	!await reset     tells with which code the client reset an echo
//	!await stop      tells with which code the client stopped one
//	!close CODE WHY  closes the session
const command = '!'

// behind is one session as the backend has it.
type behind struct {
	session *webtransport.Session
	resets  chan webtransport.StreamErrorCode
	stops   chan webtransport.StreamErrorCode
}

func backend(arguments []string) error {
	flags := flag.NewFlagSet("backend", flag.ExitOnError)
	certificate := flags.String("certificate", "", "PEM")
	key := flags.String("key", "", "PEM")
	listen := flags.String("listen", "127.0.0.1:0", "where")
	flow := flags.Bool("flow", false, "hold sessions to little, by flow control")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	server := newServer(&http3.Server{
		TLSConfig:  http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}}),
		QUICConfig: quicConfig(),
		Handler:    mux,
	}, *flow)
	server.CheckOrigin = func(*http.Request) bool { return true }
	server.ApplicationProtocols = []string{"second"}
	mux.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		session, err := server.Upgrade(response, request)
		if err != nil {
			log.Print(err)
			response.WriteHeader(http.StatusBadRequest)
			return
		}
		say(map[string]any{"session": request.URL.Path, "protocol": request.Proto, "host": request.Host})
		serve(session)
	})
	socket, err := net.ListenPacket("udp", *listen)
	if err != nil {
		return err
	}
	say(map[string]any{"listening": socket.LocalAddr().(*net.UDPAddr).Port})
	return server.Serve(socket)
}

func serve(session *webtransport.Session) {
	here := &behind{
		session: session,
		resets:  make(chan webtransport.StreamErrorCode, endsKept),
		stops:   make(chan webtransport.StreamErrorCode, endsKept),
	}
	go here.datagrams()
	go here.oneWay()
	for {
		stream, err := session.AcceptStream(context.Background())
		if err != nil {
			sayEnd(err)
			return
		}
		go here.stream(stream)
	}
}

func sayEnd(err error) {
	var ended *webtransport.SessionError
	if errors.As(err, &ended) {
		say(map[string]any{"closed": ended.ErrorCode, "reason": ended.Message, "remote": ended.Remote})
	} else {
		say(map[string]any{"lost": err.Error()})
	}
}

func (here *behind) datagrams() {
	for {
		datagram, err := here.session.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		// One that does not fit may be lost like every other.
		_ = here.session.SendDatagram(datagram)
	}
}

func (here *behind) oneWay() {
	for {
		stream, err := here.session.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			content, err := io.ReadAll(stream)
			if err != nil {
				log.Print("one way: ", err)
				return
			}
			answer, err := here.session.OpenUniStreamSync(context.Background())
			if err == nil {
				_, err = answer.Write(content)
				_ = answer.Close()
			}
			if err != nil {
				log.Print("the answer: ", err)
			}
		}()
	}
}

func (here *behind) stream(stream *webtransport.Stream) {
	buffer := make([]byte, 16<<10)
	size, err := stream.Read(buffer)
	if size > 0 && buffer[0] == command {
		line := string(buffer[:size])
		for !strings.Contains(line, "\n") && err == nil {
			size, err = stream.Read(buffer)
			line += string(buffer[:size])
		}
		line, _, _ = strings.Cut(line, "\n")
		here.obey(stream, strings.Fields(line[1:]))
		return
	}
	go here.watch(stream)
	for {
		if size > 0 {
			if _, failed := stream.Write(buffer[:size]); failed != nil {
				_, _ = io.Copy(io.Discard, stream)
				return
			}
		}
		if err != nil {
			break
		}
		size, err = stream.Read(buffer)
	}
	var reset *webtransport.StreamError
	if errors.As(err, &reset) && reset.Remote {
		here.resets <- reset.ErrorCode
		stream.CancelWrite(reset.ErrorCode)
		return
	}
	_ = stream.Close()
}

// watch waits until the stream takes no more, and keeps why.
func (here *behind) watch(stream *webtransport.Stream) {
	<-stream.Context().Done()
	_, err := stream.Write([]byte{0})
	var stopped *webtransport.StreamError
	if errors.As(err, &stopped) && stopped.Remote {
		here.stops <- stopped.ErrorCode
	}
}

func (here *behind) obey(stream *webtransport.Stream, words []string) {
	number := 0
	if len(words) > 1 {
		number, _ = strconv.Atoi(words[len(words)-1])
	}
	switch {
	case len(words) == 3 && words[0] == "open":
		here.open(stream, words[1] == "bi", number)
	case len(words) == 2 && words[0] == "reset":
		stream.CancelWrite(webtransport.StreamErrorCode(number))
	case len(words) == 2 && words[0] == "stop":
		stream.CancelRead(webtransport.StreamErrorCode(number))
		_ = stream.Close()
	case len(words) == 2 && words[0] == "await":
		ends := here.resets
		if words[1] == "stop" {
			ends = here.stops
		}
		select {
		case code := <-ends:
			fmt.Fprint(stream, code)
		case <-time.After(guard):
			fmt.Fprint(stream, "none came")
		}
		_ = stream.Close()
	case len(words) > 1 && words[0] == "close":
		code, _ := strconv.Atoi(words[1])
		_ = here.session.CloseWithError(webtransport.SessionErrorCode(code), strings.Join(words[2:], " "))
	default:
		fmt.Fprint(stream, "no such command")
		_ = stream.Close()
	}
}

// open opens streams, all at once, and tells what came back.
func (here *behind) open(stream *webtransport.Stream, both bool, number int) {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	answers := make(chan string, number)
	for index := range number {
		go func() { answers <- here.greet(ctx, both, index) }()
	}
	got := make([]string, 0, number)
	for range number {
		got = append(got, <-answers)
	}
	slices.Sort(got)
	_ = json.NewEncoder(stream).Encode(got)
	_ = stream.Close()
}

func (here *behind) greet(ctx context.Context, both bool, index int) string {
	greeting := fmt.Sprintf("greeting %d", index)
	if !both {
		stream, err := here.session.OpenUniStreamSync(ctx)
		if err != nil {
			return err.Error()
		}
		fmt.Fprint(stream, greeting)
		_ = stream.Close()
		return greeting
	}
	stream, err := here.session.OpenStreamSync(ctx)
	if err != nil {
		return err.Error()
	}
	fmt.Fprint(stream, greeting)
	_ = stream.Close()
	answer, err := io.ReadAll(stream)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}
