package bedrock

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	maxIdentities = 1000
	// early is when temporary keys are fetched anew before they expire.
	early = 5 * time.Minute
	// failedFor is how long a refusal to give temporary keys stands: all who wait for them get it.
	failedFor = 5 * time.Second
)

// errNoProfiles is of builds that have no shared config files.
var errNoProfiles = errors.New("profiles exist on a server only; enter access keys or a role")

// source gives access keys.
type source interface {
	// get returns keys that are good now. An *upstream.Error tells why there are none.
	get(ctx context.Context) (aws.Credentials, error)
	// drop forgets keys that a service refused; false: the same would come again.
	drop(refused aws.Credentials) bool
}

// person is a credential with what was made of it: the keys it gives in one region, and a signer, which keeps the key that it
// derived for the day.
type person struct {
	credential Credential
	source     source // nil: an API key
	signer     *v4.Signer
	used       uint64
}

// identities keeps the persons that are in use, by credential and region. The zero value is ready.
type identities struct {
	mu       sync.Mutex
	by       map[[sha256.Size]byte]*person
	machines map[string]*machine // by profile
	clock    uint64
}

// of returns the person of a credential in a region.
func (s *identities) of(c *Client, secret core.Secret, region string) (*person, error) {
	key := sha256.Sum256([]byte(region + "\x00" + secret.Reveal()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	if p := s.by[key]; p != nil {
		p.used = s.clock
		return p, nil
	}
	cred, err := ParseCredential(secret)
	if err != nil {
		return nil, refused(err.Error())
	}
	if s.by == nil {
		s.by = make(map[[sha256.Size]byte]*person)
	}
	for len(s.by) >= maxIdentities {
		s.forget()
	}
	p := &person{credential: cred, signer: v4.NewSigner(), used: s.clock}
	p.source = c.sourceOf(cred, region, p.signer)
	s.by[key] = p
	return p, nil
}

// forget drops the person that was used longest ago.
func (s *identities) forget() {
	var oldest [sha256.Size]byte
	at := s.clock + 1
	for k, p := range s.by {
		if p.used < at {
			oldest, at = k, p.used
		}
	}
	delete(s.by, oldest)
}

func (c *Client) sourceOf(cred Credential, region string, signer *v4.Signer) source {
	var base source
	switch {
	case cred.APIKey != "":
		return nil
	case cred.AccessKeyID != "":
		base = static{AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.SecretAccessKey, SessionToken: cred.SessionToken}
	default:
		base = c.known.machine(cred.Profile)
	}
	if cred.RoleARN == "" {
		return base
	}
	return &role{c: c, base: base, region: region, arn: cred.RoleARN, external: cred.ExternalID, session: either(cred.SessionName, usualSession),
		signer: signer, turn: make(chan struct{}, 1)}
}

// machine is the one identity of a profile: its keys are the same wherever they are used. The caller holds the lock.
func (s *identities) machine(profile string) *machine {
	if m := s.machines[profile]; m != nil {
		return m
	}
	if s.machines == nil || len(s.machines) >= maxIdentities {
		s.machines = make(map[string]*machine)
	}
	m := &machine{profile: profile}
	s.machines[profile] = m
	return m
}

// static is access keys that never change.
type static aws.Credentials

func (s static) get(context.Context) (aws.Credentials, error) { return aws.Credentials(s), nil }
func (s static) drop(aws.Credentials) bool                    { return false }

// machine is the identity of the machine: a profile of its files, or its default chain.
type machine struct {
	profile string

	mu       sync.Mutex
	provider aws.CredentialsProvider // nil: not loaded yet
	given    string                  // the access key that it gave last
}

func (m *machine) get(ctx context.Context) (aws.Credentials, error) {
	p, err := m.load(ctx)
	if err == nil {
		var c aws.Credentials
		if c, err = p.Retrieve(ctx); err == nil && c.HasKeys() {
			m.gave(c.AccessKeyID)
			return c, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return aws.Credentials{}, ctx.Err()
	case errors.Is(err, errNoProfiles):
		return aws.Credentials{}, refused(err.Error())
	case m.profile != "":
		return aws.Credentials{}, refused("the profile of the node's credential gives no access keys; check it on the machine with: aws sts get-caller-identity --profile")
	}
	return aws.Credentials{}, refused("this machine has no AWS identity to use; give it a role, or enter access keys")
}

// gave notes which keys are in use.
func (m *machine) gave(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.given = id
}

// load finds the provider, once; a failure is tried again by the next.
func (m *machine) load(ctx context.Context) (aws.CredentialsProvider, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.provider == nil {
		p, err := providerOf(ctx, m.profile)
		if err != nil {
			return nil, err
		}
		m.provider = p
	}
	return m.provider, nil
}

// drop has the sources of the machine, which are rotated outside of this process, read anew; files are read while the provider
// is made. Of several requests that were refused with the same keys the first one does it.
func (m *machine) drop(refused aws.Credentials) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.given == refused.AccessKeyID {
		m.provider, m.given = nil, ""
	}
	return true
}

// role is the keys of an assumed role. One caller at a time asks for them; the others wait, or go on with those that are
// still good.
type role struct {
	c                              *Client
	base                           source
	region, arn, external, session string
	signer                         *v4.Signer
	turn                           chan struct{} // holds the right to ask

	mu      sync.Mutex
	keys    aws.Credentials
	failure error
	failed  time.Time
}

// state returns the keys if they are good now, whether they should be fetched anew, and a refusal that still stands.
func (r *role) state() (keys aws.Credentials, good, due bool, err error) {
	now := r.c.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if good = r.keys.HasKeys() && now.Before(r.keys.Expires); good {
		keys = r.keys
	}
	due = !good || !now.Before(r.keys.Expires.Add(-early))
	if r.failure != nil {
		if age := r.c.o.Now().Sub(r.failed); age >= 0 && age < failedFor {
			if err, due = r.failure, !good; good {
				err = nil
			}
		}
	}
	return keys, good, due, err
}

func (r *role) get(ctx context.Context) (aws.Credentials, error) {
	keys, good, due, err := r.state()
	if !due || err != nil {
		return keys, err
	}
	if good { // soon to expire: one asks, the others go on
		select {
		case r.turn <- struct{}{}:
		default:
			return keys, nil
		}
	} else {
		select {
		case r.turn <- struct{}{}:
		case <-ctx.Done():
			return aws.Credentials{}, ctx.Err()
		}
	}
	defer func() { <-r.turn }()
	if keys, good, due, err = r.state(); !due || err != nil {
		return keys, err // another asked in the meantime
	}
	fresh, err := r.c.assume(ctx, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.keys, r.failure = fresh, nil
		return fresh, nil
	}
	if ctx.Err() == nil { // a caller that went away says nothing of the service
		r.failure, r.failed = err, r.c.o.Now()
	}
	if good {
		return keys, nil
	}
	return aws.Credentials{}, err
}

// drop forgets the keys if they are those that were refused: the first of many that were refused has them fetched anew.
func (r *role) drop(refused aws.Credentials) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sameKeys(r.keys, refused) {
		r.keys = aws.Credentials{}
	}
	return true
}

// refused is an error of a node whose credential gives nothing to sign with.
func refused(reason string) error {
	return &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential, Reason: reason}}
}
