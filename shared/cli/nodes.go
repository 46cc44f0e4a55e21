package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const nodesPath = "/admin/api/nodes"

func nodeCommands() []command {
	one := func(words, brief string, setup func(*flags) action) command {
		return command{words: words, args: "ID", brief: brief, least: 1, most: 1, ids: "nodes", setup: setup}
	}
	return []command{
		{words: "nodes list", brief: "the nodes of an account, by weight", setup: listNodes},
		{words: "nodes add", brief: "add a node; its id is printed alone on standard output", setup: addNode},
		one("nodes update", "change a node; what is not given stays", updateNode),
		one("nodes enable", "let a node serve again", switchNode("enable", "enabled")),
		one("nodes disable", "let a node get no more requests", switchNode("disable", "disabled")),
		{words: "nodes activate", args: "[ID]", brief: "prefer a node while it is healthy; without an id none", most: 1, ids: "nodes", setup: activateNode},
		one("nodes delete", "delete a node with its health history", deleteNode),
		one("nodes check", "check a node now; exit code 1 when it is not well", checkNode),
		one("nodes health", "a node's checks and changes of state, the newest last", nodeHealth),
	}
}

func nodeFields(fresh bool) []field {
	var out []field
	if fresh {
		out = append(out, field{"kind", "kind", asText, "`KIND`: anthropic (the default), openai, bedrock or amazonq", []string{"anthropic", "openai", "bedrock", "amazonq"}})
	}
	return slices.Concat(out, []field{
		{"base-url", "base_url", asText, "`URL` of the upstream", nil},
		{"api-key", "api_key", asSecret, "`-` reads its credential from standard input or asks for it; empty takes it away", nil},
		{"name", "name", asText, "`TEXT`", nil},
		{"weight", "weight", asNumber, "the smaller number is preferred", nil},
		{"models", "models", asList, "`LIST` of names, or prefixes ending in *; empty: any", nil},
		{"model-map", "model_map", asPairs, "`LIST` of NAME=NAME: what the node knows a model by", nil},
	}, limitFields("limits."), []field{
		{"wire", "wire", asText, "`WIRE` of kind openai: chat, responses or both", []string{"chat", "responses", "both"}},
		{"auth-header", "auth_header", asText, "`HEADER` that carries the credential, of kind openai", nil},
		{"health-method", "health_check_method", asText, "`METHOD`: api, head or cli", []string{"api", "head", "cli"}},
		{"health-model", "health_check_model", asText, "`NAME` of the model that checks ask", nil},
		{"notes", "notes", asText, "`TEXT`", nil},
		{"api", "api", asText, "`API` of kind bedrock: messages, invoke or converse; of kind amazonq: q or kiro", []string{"messages", "invoke", "converse", "q", "kiro"}},
		{"region", "region", asText, "`REGION` of kind bedrock or amazonq", nil},
		{"profile-arn", "profile_arn", asText, "`ARN` of kind amazonq", nil},
		{"refresh-token", "refresh_token", asSecret, "`-` reads it as --api-key does, of kind amazonq", nil},
		{"client-id", "client_id", asText, "`ID` of the login, of kind amazonq", nil},
		{"client-secret", "client_secret", asSecret, "`-` reads it likewise", nil},
		{"token-region", "token_region", asText, "`REGION` of the token service", nil},
		{"start-url", "start_url", asText, "`URL` of IAM Identity Center", nil},
		{"access-key-id", "access_key_id", asText, "`ID` of AWS access keys, of kind bedrock", nil},
		{"secret-access-key", "secret_access_key", asSecret, "`-` reads it as --api-key does", nil},
		{"session-token", "session_token", asSecret, "`-` reads it likewise, of temporary access keys", nil},
		{"profile", "profile", asText, "`NAME` in the AWS files of the gateway's machine, of kind bedrock", nil},
		{"default-chain", "default_chain", asBool, "the AWS identity of the gateway's machine, of kind bedrock", nil},
		{"role-arn", "role_arn", asText, "`ARN` of a role to assume, of kind bedrock", nil},
		{"external-id", "external_id", asText, "`ID` that the role asks for", nil},
		{"role-session-name", "role_session_name", asText, "`NAME` of the role's sessions", nil},
		{"workspace-id", "workspace_id", asText, "`ID` of Claude Platform on AWS, of kind bedrock", nil},
	})
}

// nodeRow is a node as tables show it.
type nodeRow struct {
	ID         string     `json:"id"`
	AccountID  string     `json:"account_id"`
	Name       string     `json:"name"`
	Kind       string     `json:"kind"`
	BaseURL    string     `json:"base_url"`
	HasAPIKey  bool       `json:"has_api_key"`
	Weight     int        `json:"weight"`
	Active     bool       `json:"active"`
	State      string     `json:"state"`
	StateSince *time.Time `json:"state_since"`
	LastError  string     `json:"last_error"`
	Requests   int64      `json:"requests"`
	HealthRate float64    `json:"health_rate"`
	Limits     limits     `json:"limits"`
}

func state(s string) cell {
	switch s {
	case "online":
		return cell{s, green}
	case "disabled":
		return cell{s, faint}
	case "degraded", "cooling", "half_open":
		return cell{s, yellow}
	}
	return cell{s, red}
}

func listNodes(f *flags) action {
	f.remote()
	account := f.account("whose nodes are listed; default: default, or the key's own")
	return func(ctx context.Context, s *session, _ []string) error {
		var out struct{ Nodes []nodeRow }
		if printed, err := s.ask(ctx, "GET", nodesPath, ofAccount(*account), nil, &out); err != nil || printed {
			return err
		}
		rows := make([][]cell, 0, len(out.Nodes))
		for i := range out.Nodes {
			n := &out.Nodes[i]
			ok := none
			if n.Requests > 0 {
				ok = strconv.FormatFloat(n.HealthRate, 'f', 1, 64) + "%"
			}
			rows = append(rows, []cell{text(n.ID), text(n.Name), text(n.Kind), state(n.State), text(strconv.Itoa(n.Weight)), text(yes(n.Active)), text(count(n.Requests)), text(ok),
				text(yes(n.HasAPIKey)), text(n.Limits.String()), text(n.BaseURL), text(n.LastError)})
		}
		return s.print(columns("=ID", "NAME", "KIND", "STATE", ">WEIGHT", "ACTIVE", ">REQUESTS", ">SUCCESS", "KEY", "LIMITS", "ADDRESS", "LAST ERROR"), rows)
	}
}

func addNode(f *flags) action {
	f.remote()
	account := f.account("it belongs to; default: default, or the key's own")
	f.body(nodeFields(true))
	return func(ctx context.Context, s *session, _ []string) error {
		switch kind := f.Lookup("kind").Value.String(); {
		case f.set("base-url") || kind == "amazonq":
		case kind != "bedrock":
			return usageError("--base-url is needed, such as https://api.anthropic.com")
		case !f.set("region"):
			return usageError("--region is needed, such as us-east-1, or --base-url")
		}
		in, err := s.values(ctx)
		if err != nil {
			return err
		}
		var out thing
		if printed, err := s.ask(ctx, "POST", nodesPath, ofAccount(*account), in, &out); err != nil || printed {
			return err
		}
		_, err = fmt.Fprintln(s.env.Stdout, clean(out.ID))
		return err
	}
}

func updateNode(f *flags) action {
	f.remote()
	f.body(nodeFields(false))
	return func(ctx context.Context, s *session, args []string) error {
		in, err := s.changes(ctx)
		if err != nil {
			return err
		}
		return s.said(ctx, "PUT", nodesPath, url.Values{"id": args}, in, "Node "+args[0]+" is changed.")
	}
}

func switchNode(verb, done string) func(*flags) action {
	return func(f *flags) action {
		f.remote()
		return func(ctx context.Context, s *session, args []string) error {
			return s.said(ctx, "POST", nodesPath+"/"+verb, nil, map[string]any{"id": args[0]}, "Node "+args[0]+" is "+done+".")
		}
	}
}

func activateNode(f *flags) action {
	f.remote()
	account := f.account("whose preference is cleared; default: default, or the key's own")
	return func(ctx context.Context, s *session, args []string) error {
		id, done := "", "No node is active: all are used by weight."
		if len(args) > 0 {
			id, done = args[0], "Node "+args[0]+" is active."
		}
		return s.said(ctx, "POST", nodesPath+"/activate", ofAccount(*account), map[string]any{"id": id}, done)
	}
}

func deleteNode(f *flags) action {
	f.remote()
	f.destructive()
	return func(ctx context.Context, s *session, args []string) error {
		if err := s.sure(ctx, "nodes", args[0], "The credential and the health history of", "are lost.", "Delete it?"); err != nil {
			return err
		}
		return s.said(ctx, "DELETE", nodesPath, url.Values{"id": args}, nil, "Node "+args[0]+" is deleted.")
	}
}

// check is one health check, or change of a state.
type check struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Time    time.Time `json:"check_time"`
	Success bool      `json:"success"`
	Millis  *float64  `json:"response_time_ms"`
	Error   string    `json:"error_message"`
	Method  string    `json:"check_method"`
	Source  string    `json:"check_source"`
	State   string    `json:"state"`
}

func (c *check) row() []cell {
	result := cell{"good", green}
	if !c.Success {
		result = cell{"failed", red}
	}
	return []cell{text(when(&c.Time)), result, state(c.State), text(maybeMillis(c.Millis)), text(c.Method), text(c.Source), text(c.Error)}
}

func checkColumns() []column {
	return columns("=TIME", "RESULT", "STATE", ">TOOK", "METHOD", "SOURCE", "ERROR")
}

func checkNode(f *flags) action {
	f.remote()
	return func(ctx context.Context, s *session, args []string) error {
		data, err := s.call(ctx, "POST", nodesPath+"/check", url.Values{"id": args}, nil)
		if err != nil {
			return err
		}
		var c check
		if err := decode(data, &c); err != nil {
			return err
		}
		if s.f.json {
			err = s.printJSON(data)
		} else {
			err = s.print(checkColumns(), [][]cell{c.row()})
		}
		if err == nil && !c.Success {
			err = errors.New(strings.TrimSuffix("node "+args[0]+" is not well: "+clean(c.Error), ": "))
		}
		return err
	}
}

func nodeHealth(f *flags) action {
	f.remote()
	t := period{f.String("from", "", "`TIME` to begin with"), f.String("to", "", "`TIME` to end before"), f.String("last", "", "the last `SPAN`; default 24h")}
	limit := f.Int("limit", 100, "how many, 1 to 2000")
	return func(ctx context.Context, s *session, args []string) error {
		q := url.Values{"limit": {strconv.Itoa(*limit)}}
		if err := t.add(q, s.env.Now(), time.UTC); err != nil {
			return err
		}
		var out struct {
			Total  int64
			Checks []check
		}
		if printed, err := s.ask(ctx, "GET", "/api/nodes/"+url.PathEscape(args[0])+"/health-history", q, nil, &out); err != nil || printed {
			return err
		}
		rows := make([][]cell, 0, len(out.Checks))
		for i := range out.Checks {
			rows = append(rows, out.Checks[i].row())
		}
		if more := out.Total - int64(len(rows)); more > 0 {
			fmt.Fprintf(s.env.Stderr, "%s older ones are left out; see --limit.\n", count(more))
		}
		return s.print(checkColumns(), rows)
	}
}
