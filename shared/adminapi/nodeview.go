package adminapi

import (
	"math"
	"strconv"
	"time"

	"sluice/shared/core"
)

// nodeView is a node as lists show it: the fields of Guide A's API beside our own. The credential never leaves.
type nodeView struct {
	ID            string            `json:"id"`
	AccountID     string            `json:"account_id"`
	Name          string            `json:"name"`
	Kind          core.Kind         `json:"kind"`
	BaseURL       string            `json:"base_url"`
	HasAPIKey     bool              `json:"has_api_key"`
	Weight        int               `json:"weight"`
	Models        []string          `json:"models,omitempty"`
	ModelMap      map[string]string `json:"model_map,omitempty"`
	Limits        limitsView        `json:"limits"`
	Wire          string            `json:"wire,omitempty"` // of nodes of kind openai
	AuthHeader    string            `json:"auth_header,omitempty"`
	API           string            `json:"api,omitempty"` // this and the next of nodes of kind amazonq and bedrock
	Region        string            `json:"region,omitempty"`
	Profile       string            `json:"profile_arn,omitempty"` // of nodes of kind amazonq
	Credential    *credentialView   `json:"credential,omitempty"`  // of nodes of kind bedrock
	Notes         string            `json:"notes,omitempty"`
	HealthMethod  string            `json:"health_check_method"`
	HealthModel   string            `json:"health_check_model"`
	Active        bool              `json:"active"`
	Disabled      bool              `json:"disabled"`
	State         core.Condition    `json:"state"`       // of a blocked node why it is: login_needed, suspended
	StateSince    *time.Time        `json:"state_since"` // null where it never changed
	StateReason   string            `json:"state_reason"`
	Failed        bool              `json:"failed"`
	CoolingUntil  *time.Time        `json:"cooling_until,omitempty"`
	FailStreak    int               `json:"fail_streak"`
	LastError     string            `json:"last_error"`
	LastErrorAt   *time.Time        `json:"last_error_at,omitempty"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
	Requests      int64             `json:"requests"`
	FailCount     int64             `json:"fail_count"`
	HealthRate    float64           `json:"health_rate"` // percent of requests that succeeded; 100 before the first
	InputTokens   int64             `json:"input_tokens"`
	OutputTokens  int64             `json:"output_tokens"`
	TotalBytes    int64             `json:"total_bytes"`
	StreamMS      int64             `json:"stream_dur_ms"`
	FirstByteMS   int64             `json:"first_byte_ms"` // mean
	PerToken      string            `json:"avg_recv_ms_per_token"`
	PingMS        *int64            `json:"ping_ms"` // of health checks; null before the first
	PingError     string            `json:"ping_error"`
	LastPingMS    *int64            `json:"last_ping_ms"`
	LastPingError string            `json:"last_ping_error"`
	LastCheckAt   *time.Time        `json:"last_health_check_at"`

	CacheReadRatio *float64 `json:"cache_read_ratio"`   // share of all input tokens, 0 to 1; null before the first
	FirstByteEWMA  *float64 `json:"first_byte_ewma_ms"` // this and error_rate (0 to 1) as this process sees it; null: nothing yet
	ErrorRate      *float64 `json:"error_rate"`
}

// nodeViews are an account's nodes, or the one that is named.
func (c *call) nodeViews(account, id string) ([]nodeView, error) {
	var w *watched
	var err error
	if id != "" {
		w, err = c.watchOne(account, id)
	} else {
		w, err = c.watch(account)
	}
	if err != nil {
		return nil, err
	}
	now := c.a.o.Now()
	views := make([]nodeView, 0, len(w.nodes))
	for i := range w.nodes {
		n := &w.nodes[i]
		v := nodeView{ID: n.ID, AccountID: n.Account, Name: n.Name, Kind: n.Kind, BaseURL: n.BaseURL, HasAPIKey: n.Credential != "",
			Weight: n.Weight, Models: n.Models, ModelMap: n.ModelMap, Limits: viewLimits(n.Limits), Wire: n.Wire, AuthHeader: n.AuthHeader,
			API: n.API, Region: n.Region, Profile: n.Profile, Credential: c.viewCredential(n), Notes: n.Notes, HealthMethod: n.HealthMethod,
			HealthModel: n.HealthModel, Active: n.ID == w.account.ActiveNode, Disabled: n.Disabled, CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt}
		switch {
		case n.Kind == core.KindOpenAI && n.Wire == "":
			v.Wire = "chat"
		case findsHost(n.Kind) && n.API == "":
			v.API = usualAPI(n.Kind)
		}
		h := c.a.o.Health.Node(c.r.Context(), n.ID, n.Account)
		is, since, reason := c.condition(n, h.State(), w.checks[n.ID], &w.account)
		v.State, v.StateSince, v.StateReason = is, momentOf(since), reason
		v.health(h.State(), now)
		v.checked(w.checks[n.ID], h.Meter(), w.used[n.ID].Tokens)
		v.usage(w.used[n.ID])
		views = append(views, v)
	}
	return views, nil
}

func (v *nodeView) usage(s core.UsageSum) {
	v.Requests, v.FailCount = s.Requests, s.Requests-s.Success
	v.HealthRate, v.PerToken = 100, "-"
	if s.Requests > 0 {
		v.HealthRate = math.Round(float64(s.Success)*1000/float64(s.Requests)) / 10
	}
	v.InputTokens, v.OutputTokens, v.TotalBytes, v.StreamMS = s.Tokens.TotalInput(), s.Tokens.Output, s.Bytes, s.StreamMS
	if s.FirstBytes > 0 {
		v.FirstByteMS = s.FirstByteMS / s.FirstBytes
	}
	if s.Tokens.Output > 0 {
		v.PerToken = strconv.FormatFloat(float64(s.StreamMS)/float64(s.Tokens.Output), 'f', 2, 64)
	}
}
