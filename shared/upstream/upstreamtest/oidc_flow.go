package upstreamtest

import (
	"strings"
	"time"
)

// oidcRequest has the members of all operations' inputs.
type oidcRequest struct {
	ClientName   string   `json:"clientName"`
	ClientType   string   `json:"clientType"`
	Scopes       []string `json:"scopes"`
	GrantTypes   []string `json:"grantTypes"`
	ClientID     string   `json:"clientId"`
	ClientSecret string   `json:"clientSecret"`
	StartURL     string   `json:"startUrl"`
	GrantType    string   `json:"grantType"`
	DeviceCode   string   `json:"deviceCode"`
	RefreshToken string   `json:"refreshToken"`
}

type deviceStatus uint8

const (
	deviceWaiting deviceStatus = iota
	deviceApproved
	deviceDenied
	deviceExpired
	deviceUsed
)

// device is an authorization that a person may approve.
type device struct {
	code, userCode, client string
	status                 deviceStatus
	pending                int // polls until it approves itself; below 0: never
	expires                time.Time
}

const (
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
	grantRefresh = "refresh_token"
	deviceExpiry = 600 // seconds
)

// Pending makes every later device authorization answer n polls with
// authorization_pending and then approve itself. Below 0, the default, it waits
// for [OIDC.Approve].
func (o *OIDC) Pending(n int) { o.change(func(s *oidcState) { s.script.pending = n }) }

// SlowDown answers the next n polls with slow_down, whatever they ask for.
func (o *OIDC) SlowDown(n int) { o.change(func(s *oidcState) { s.script.slow = n }) }

// Approve does what a person does in the browser with the user code; empty is
// the newest authorization. It reports whether there is one that waits.
func (o *OIDC) Approve(userCode string) bool { return o.decide(userCode, deviceApproved) }

// Deny is [OIDC.Approve] by a person who refuses.
func (o *OIDC) Deny(userCode string) bool { return o.decide(userCode, deviceDenied) }

// Expire makes the time of an authorization run out.
func (o *OIDC) Expire(userCode string) bool { return o.decide(userCode, deviceExpired) }

func (o *OIDC) decide(userCode string, status deviceStatus) (found bool) {
	o.change(func(s *oidcState) {
		for i := len(s.devices) - 1; i >= 0 && !found; i-- {
			if d := s.devices[i]; d.status == deviceWaiting && (userCode == "" || d.userCode == userCode) {
				d.status, found = status, true
			}
		}
	})
	return found
}

type registered struct {
	ID       string `json:"clientId"`
	IssuedAt int64  `json:"clientIdIssuedAt"`
	Secret   string `json:"clientSecret"`
	Expires  int64  `json:"clientSecretExpiresAt"`
}

// register answers RegisterClient. Clients live for 90 days.
func (o *OIDC) register(in oidcRequest) (any, *oidcError) {
	switch {
	case in.ClientName == "" || in.ClientType == "":
		return nil, oidcErrorOf("invalid_request", "clientName and clientType are required")
	case in.ClientType != "public":
		return nil, oidcErrorOf("invalid_client_metadata", "clientType must be public")
	}
	for _, scope := range in.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \t") {
			return nil, oidcErrorOf("invalid_scope", "Invalid scope")
		}
	}
	id, secret := o.newID("client-"), o.newID("secret-")
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	o.state.clients[id] = &oidcClient{secret}
	now := o.state.now()
	return registered{id, now.Unix(), secret, now.AddDate(0, 0, 90).Unix()}, nil
}

type authorization struct {
	DeviceCode string `json:"deviceCode"`
	ExpiresIn  int    `json:"expiresIn"`
	Interval   int    `json:"interval"`
	UserCode   string `json:"userCode"`
	URI        string `json:"verificationUri"`
	Complete   string `json:"verificationUriComplete"`
}

// authorize answers StartDeviceAuthorization.
func (o *OIDC) authorize(in oidcRequest) (any, *oidcError) {
	code, id := o.newID("device-"), o.newID("")
	user := strings.ToUpper(id[2:6] + "-" + id[6:10])
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	s := &o.state
	switch e := s.known(in); {
	case e != nil:
		return nil, e
	case !strings.HasPrefix(in.StartURL, "https://"):
		return nil, oidcErrorOf("invalid_request", "Invalid startUrl provided")
	}
	s.devices = append(s.devices, &device{
		code: code, userCode: user, client: in.ClientID, pending: s.script.pending, expires: s.now().Add(deviceExpiry * time.Second),
	})
	uri := strings.TrimSuffix(in.StartURL, "/") + "/#/device"
	return authorization{code, deviceExpiry, s.script.interval, user, uri, uri + "?user_code=" + user}, nil
}

// known refuses a client that is not registered or has another secret. It needs
// the lock, as all methods of the state do.
func (s *oidcState) known(in oidcRequest) *oidcError {
	if in.ClientID == "" || in.ClientSecret == "" {
		return oidcErrorOf("invalid_request", "clientId and clientSecret are required")
	}
	if c := s.clients[in.ClientID]; c == nil || c.secret != in.ClientSecret {
		return oidcErrorOf("invalid_client", "Invalid client provided")
	}
	return nil
}

type tokens struct {
	Access  string  `json:"accessToken"`
	Expires int     `json:"expiresIn"`
	ID      *string `json:"idToken"`
	Refresh *string `json:"refreshToken"`
	Type    string  `json:"tokenType"`
}

// createToken answers CreateToken.
func (o *OIDC) createToken(in oidcRequest) (any, *oidcError) {
	access, refresh := o.newID("aoaAAAAAG"), o.newID("aorAAAAAG")
	o.state.mu.Lock()
	out, issued, e := o.state.grant(in, access, refresh)
	hook := o.state.script.afterHook
	o.state.mu.Unlock()
	if e == nil && hook != nil {
		hook(issued)
	}
	return out, e
}

func (s *oidcState) grant(in oidcRequest, access, refresh string) (out tokens, i Issued, e *oidcError) {
	if in.GrantType == grantDevice {
		s.counts.polls++
	}
	if e = s.known(in); e != nil {
		return
	}
	i = Issued{ClientID: in.ClientID, AccessToken: access, RefreshToken: refresh, ExpiresIn: s.script.expires.Truncate(time.Second)}
	switch in.GrantType {
	case grantDevice:
		i.Grant, i.Used = "device_code", in.DeviceCode
		e = s.poll(in)
	case grantRefresh:
		i.Grant, i.Used = grantRefresh, in.RefreshToken
		e = s.renew(in)
		if e == nil && s.script.rotation != Rotate {
			i.RefreshToken = in.RefreshToken
		}
	case "":
		e = oidcErrorOf("invalid_request", "grantType is required")
	default:
		e = oidcErrorOf("unsupported_grant_type", "Unsupported grant type provided")
	}
	if e != nil {
		return
	}
	s.refresh[i.RefreshToken] = &oidcLogin{in.ClientID}
	s.access[access] = s.now().Add(i.ExpiresIn)
	out = tokens{Access: access, Expires: int(i.ExpiresIn / time.Second), Refresh: &i.RefreshToken, Type: "Bearer"}
	if in.GrantType == grantRefresh && s.script.rotation == RotateOmit {
		out.Refresh = nil
	}
	return out, i, nil
}

// renew takes a refresh token.
func (s *oidcState) renew(in oidcRequest) *oidcError {
	if in.RefreshToken == "" {
		return oidcErrorOf("invalid_request", "refreshToken is required")
	}
	if l := s.refresh[in.RefreshToken]; l == nil || l.client != in.ClientID {
		return oidcErrorOf("invalid_grant", "Invalid refresh token provided")
	}
	s.counts.refreshes++
	if s.script.rotation == Rotate {
		delete(s.refresh, in.RefreshToken)
	}
	return nil
}

// poll takes a device code.
func (s *oidcState) poll(in oidcRequest) *oidcError {
	var d *device
	for _, one := range s.devices {
		if one.code == in.DeviceCode && one.client == in.ClientID {
			d = one
		}
	}
	switch {
	case in.DeviceCode == "":
		return oidcErrorOf("invalid_request", "deviceCode is required")
	case d == nil || d.status == deviceUsed:
		return oidcErrorOf("invalid_grant", "Invalid device code provided")
	case s.script.slow > 0:
		s.script.slow--
		return oidcErrorOf("slow_down", "")
	case d.status == deviceDenied:
		return oidcErrorOf("access_denied", "")
	case d.status == deviceExpired || !s.now().Before(d.expires):
		return oidcErrorOf("expired_token", "")
	case d.status == deviceWaiting && d.pending != 0:
		d.pending = max(d.pending-1, -1)
		return oidcErrorOf("authorization_pending", "")
	}
	d.status = deviceUsed
	return nil
}
