package main

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// timerSlackNanoseconds is by how much the kernel may be late in waking a thread that sleeps, so that it can wake several
// at once. As long as there is work the monitor thread of Go's runtime sleeps 20 us at a time; with the slack that a process
// begins with, 50 us, it wakes some thousand times a second, each time takes the processor from a thread that works, and
// cost a server that delivers mail a seventh of its time.
const timerSlackNanoseconds = 2_000_000

// tuneRuntime makes Go's scheduler fit a server that always has one thread in a write that is synced: a monitor that wakes less
// often, and one processor, in the sense of that scheduler, more than there are, as the thread that waits for the disk keeps one that
// the monitor now hardly ever takes away. GOMAXPROCS of the environment holds.
func tuneRuntime(getenv func(string) string) {
	if slackenTimers() && getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// slackenTimers sets the slack of every thread there is; those that follow have it of the one that makes them. Only a process
// with CAP_SYS_NICE may, as root has it; under systemd the unit says TimerSlackNSec=. It reports whether there is slack.
func slackenTimers() bool {
	if have, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil && have >= timerSlackNanoseconds {
		return true
	}
	threads, err := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		// Not below task/: the file is there for processes only, and for a thread by its number. A thread may have ended.
		if e := os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte(strconv.Itoa(timerSlackNanoseconds)), 0); e != nil && !os.IsNotExist(e) {
			return false
		}
	}
	return err == nil && len(threads) > 0
}
