package torchtest

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"facepipe/student/torch"
)

// rankVariable says to a test that it is a rank, and which.
const rankVariable = "PIPE_TEST_RANK"

// Ranks runs the test as n processes and returns the lines that each printed with "> "
// before them. Ranks are processes since c10d keeps some of its state for a whole one:
// the test's program is started again n times, and in these Ranks runs body and returns
// nil, with which the test is to end.
func Ranks(t *testing.T, n int, body func(t *testing.T, s *torch.Scope, g *torch.Group, rank int)) [][]string {
	t.Helper()
	NeedGroups(t, Open(t))
	if text := os.Getenv(rankVariable); text != "" {
		asRank(t, text, body)
		return nil
	}
	port := FreePort(t)
	var ranks []*restarted
	for rank := range n {
		ranks = append(ranks, start(t, fmt.Sprintf("%s=%d/%d/%d", rankVariable, rank, n, port)))
	}
	lines := make([][]string, n)
	for rank, r := range ranks {
		lines[rank] = r.wait(t, fmt.Sprint("rank ", rank))
	}
	return lines
}

func asRank(t *testing.T, text string, body func(t *testing.T, s *torch.Scope, g *torch.Group, rank int)) {
	t.Helper()
	var rank, size, port int
	if _, err := fmt.Sscanf(text, "%d/%d/%d", &rank, &size, &port); err != nil {
		t.Fatal(err)
	}
	e := Open(t)
	g, err := e.JoinGroup(torch.GroupConfig{Rank: rank, Size: size, Host: "127.0.0.1", Port: port, Address: "127.0.0.1",
		Device: "cpu", Join: time.Minute, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	body(t, Scope(t, e), g, rank)
	g.Close()
	t.SkipNow() // what was printed is for the test that started this rank to judge
}

// NeedGroups skips a test where the engine was built without process groups.
func NeedGroups(t *testing.T, e *torch.Engine) {
	t.Helper()
	if e.GroupBackends() == "" {
		t.Skip("the engine was built with a libtorch without c10d")
	}
}

// FreePort is a TCP port of the loopback interface that nobody listens at.
func FreePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
