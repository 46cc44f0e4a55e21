// Command lab is what the browser tests need beside the program itself: fake upstreams, the console behind the buffered
// Lambda adapter, and stores with history. "lab serve" and "lab dynamodb" print one line of JSON with addresses and end
// with their standard input; "lab fill" reads what to fill from it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"sluice/shared/adminui"
	"sluice/shared/boot"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/lambdahttp"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/upstreamtest"
	"sluice/shared/web"
	"sluice/tests/lambda/front"
	"sluice/tests/lambda/scenario"
	"sluice/tests/lambda/stores"
)

func main() {
	word := ""
	if len(os.Args) == 2 {
		word = os.Args[1]
	}
	var err error
	switch word {
	case "serve":
		err = serve()
	case "dynamodb":
		err = dynamo(context.Background())
	case "fill":
		err = fill(context.Background(), os.Stdin, os.Stdout)
	default:
		err = errors.New("the commands are: lab serve, lab fill, lab dynamodb")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// addresses is what serve prints.
type addresses struct {
	Anthropic string `json:"anthropic"`
	OpenAI    string `json:"openai"`
	AmazonQ   string `json:"amazonq"`
	OIDC      string `json:"oidc"`
	Hook      string `json:"hook"`   // takes notifications
	Lambda    string `json:"lambda"` // the console behind API Gateway, in one piece, under a stage; its settings are this process's variables
	Login     struct {
		RefreshToken string `json:"refresh_token"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	} `json:"login"`
}

// stage is the prefix that a REST API without a domain of its own has.
const stage = "prod"

func serve() error {
	var a addresses
	anthropic, err := upstreamtest.StartAnthropic()
	if err != nil {
		return err
	}
	defer anthropic.Close()
	openai, err := upstreamtest.StartOpenAI()
	if err != nil {
		return err
	}
	defer openai.Close()
	q, err := upstreamtest.StartAmazonQ()
	if err != nil {
		return err
	}
	defer q.Close()
	oidc, err := upstreamtest.StartOIDC()
	if err != nil {
		return err
	}
	defer oidc.Close()
	q.SetTokens(oidc.Valid)
	l := oidc.Login()
	a.Anthropic, a.OpenAI, a.AmazonQ, a.OIDC = anthropic.URL, openai.URL, q.URL, oidc.URL
	a.Login.RefreshToken, a.Login.ClientID, a.Login.ClientSecret = l.RefreshToken, l.ClientID, l.ClientSecret
	// a person at the token service's page, who confirms a code
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	mux.HandleFunc("POST /approve/{code}", func(w http.ResponseWriter, r *http.Request) {
		if !oidc.Approve(r.PathValue("code")) {
			http.NotFound(w, r)
		}
	})
	side, err := listen(mux)
	if err != nil {
		return err
	}
	a.Hook = side
	door, err := lambda()
	if err != nil {
		return err
	}
	behind, err := listen(door)
	if err != nil {
		return err
	}
	a.Lambda = behind + "/" + stage
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// dynamo runs DynamoDB Local with a table.
func dynamo(ctx context.Context) error {
	for _, v := range stores.Credentials() {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "ui-dynamodb-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	srv, err := stores.Start(ctx, stores.DynamoDB, dir)
	if err != nil {
		return err
	}
	defer srv.Stop()
	if err := dynamodb.CreateTable(ctx, srv.URL); err != nil {
		return err
	}
	at := struct {
		URL string   `json:"url"`
		Env []string `json:"env"`
	}{srv.URL, stores.Credentials()}
	if err := json.NewEncoder(os.Stdout).Encode(at); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// listen serves until the process ends.
func listen(h http.Handler) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = http.Serve(ln, h) }()
	return "http://" + ln.Addr().String(), nil
}

// placed tells h the stage, as the functions do.
func placed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inv, ok := lambdahttp.FromContext(r.Context()); ok && inv.Prefix != "" {
			r = r.WithContext(web.WithPrefix(r.Context(), inv.Prefix))
		}
		h.ServeHTTP(w, r)
	})
}

// lambda is a whole gateway with the console over a store in memory, behind the adapter that answers in one piece and API
// Gateway's plain integration.
func lambda() (http.Handler, error) {
	env := map[string]string{"STORE_URL": "memory:"}
	for _, v := range os.Environ() {
		if name, value, ok := strings.Cut(v, "="); ok && strings.ToUpper(name) == name {
			env[name] = value
		}
	}
	env["STORE_URL"] = "memory:"
	c, err := config.Parse(env)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	app, err := boot.Open(context.Background(), boot.Options{Part: boot.Everything(), Hosted: true, Config: c, Log: log, Version: "lambda", Openers: map[string]boot.Opener{
		"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
			return boot.Opened{Store: memory.New(), Where: "memory"}, nil
		}},
		Console: func(o boot.ConsoleOptions) boot.Console {
			return adminui.New(adminui.Options{API: o.API, PublicURL: o.PublicURL, Version: o.Version, Streams: o.Streams, Ending: o.Ending, Log: o.Log, Now: o.Now})
		}})
	if err != nil {
		return nil, err
	}
	f := lambdahttp.New(placed(app.Handler), lambdahttp.Options{Log: log, Error: boot.WriteError, Buffered: true})
	return &front.Door{Type: front.RESTBuffered, Stage: stage, Binary: true, Invoke: scenario.Direct(f)}, nil
}
