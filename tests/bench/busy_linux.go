package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// noisy is the share of the machine from which on others' work is mentioned.
const noisy = 0.1

// meter tells how much of the machine other processes used during a run.
type meter struct {
	start time.Time
	all   time.Duration // CPU time of the whole machine then
	ours  time.Duration
	lab   *lab
}

// newMeter starts measuring.
func newMeter(l *lab) (*meter, error) {
	all, err := machineTime()
	if err != nil {
		return nil, err
	}
	return &meter{start: time.Now(), all: all, ours: l.used(), lab: l}, nil
}

// others is the share, from 0 to 1, of all cores that processes other than
// this program and its children have used since the start.
func (m *meter) others(cores int) (float64, error) {
	all, err := machineTime()
	if err != nil {
		return 0, err
	}
	spent := (all - m.all) - (m.lab.used() - m.ours)
	return max(0, spent.Seconds()/time.Since(m.start).Seconds()/float64(cores)), nil
}

// used is the CPU time of this program and its children, ended or not.
func (l *lab) used() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	for _, c := range l.started {
		if d, err := c.cpu(); err == nil { // else it has ended and is counted above
			sum += d
		}
	}
	return sum
}

// machineTime is the time that all cores together have worked since boot,
// including what the host took from them.
func machineTime() (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseStat(string(data))
}

// parseStat reads the first line of /proc/stat.
func parseStat(stat string) (time.Duration, error) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all of Linux's ports that Go has
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("no times of the machine in /proc/stat: %.80q", line)
	}
	var sum time.Duration
	for i, v := range f[1:9] { // user nice system idle iowait irq softirq steal
		if i == 3 || i == 4 {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("times of the machine in /proc/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
