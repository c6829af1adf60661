// Package parallel trains one model on several ranks: processes, on one machine or
// many, that each take a slice of every batch.
//
// All ranks do the same thing. They have the same weights, optimizer and loss state,
// and a step keeps it so: each embeds its slice of the batch; the embeddings of all are
// gathered, and every rank takes the loss of the whole batch; backward goes through the
// own slice only, and its gradients are summed over the ranks, in buckets, while it is
// under way. So a step means the same on any number of ranks, also for losses that
// compare samples with each other or remember them.
//
// The collectives are c10d's (see [torch.Group]). What is here decides what goes
// through them.
package parallel

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"facepipe/internal/worker"
	"facepipe/student/torch"
)

// patience is how long a rank waits in a collective in memory. A rank that has died is noticed
// at once; this is for a machine that no longer answers, and must leave rank 0 the time
// to validate.
const patience = 30 * time.Minute

// devicePatience is that of collectives on devices, for which nobody validates: ranks come to
// them within a step of each other, the first ones of a run when cuDNN has measured.
const devicePatience = 5 * time.Minute

// settle is how long the engine may take for its own connections between ranks that have
// all come.
const settle = 30 * time.Second

// Join meets the other ranks, for which it waits no longer than timeout. device is where
// the model will be. Errors name the address of rank 0. The watch tells lost, which must have
// room for one, of the first rank that ends without having left.
func Join(ctx context.Context, e *torch.Engine, r worker.Rank, device string, timeout time.Duration, lost chan<- error) (_ *torch.Group, _ *Watch, err error) {
	fail := func(err error) error {
		return fmt.Errorf("rank %d of %d: %w", r.Index, r.Count, err)
	}
	if e.GroupBackends() == "" {
		return nil, nil, fail(fmt.Errorf("%w: %s was built with a libtorch (%s) that has no c10d with Gloo", torch.ErrEngine, e.Path(), e.TorchVersion()))
	}
	watch, err := meet(ctx, r, timeout, lost)
	if err != nil {
		return nil, nil, fail(err)
	}
	defer func() {
		if err != nil {
			watch.end()
		}
	}()
	connect := func(err error) error {
		return fail(fmt.Errorf("all ranks came to %s, but: %w", r.Master(), err))
	}
	if err := listens(ctx, r, settle); err != nil {
		return nil, nil, connect(err)
	}
	address, err := localAddress(r)
	if err != nil {
		return nil, nil, connect(err)
	}
	type joined struct {
		group *torch.Group
		err   error
	}
	done := make(chan joined, 1)
	go func() {
		g, err := e.JoinGroup(torch.GroupConfig{
			Rank: r.Index, Size: r.Count, Host: r.Host, Port: r.Port, Address: address, Device: device,
			Join: settle, Wait: patience, DeviceWait: devicePatience,
		})
		done <- joined{g, err}
	}()
	select {
	case j := <-done:
		if j.err != nil {
			return nil, nil, connect(j.err)
		}
		return j.group, watch, nil
	case <-ctx.Done(): // the engine's call cannot be stopped; what it brings is let go
		go func() {
			if j := <-done; j.err == nil {
				j.group.Close()
			}
		}()
		return nil, nil, ctx.Err()
	}
}

// localAddress is this machine's address on the way to rank 0, at which the other ranks
// can reach this one. The name of a machine often stands for another address, such as
// loopback.
func localAddress(r worker.Rank) (string, error) {
	c, err := net.Dial("udp", r.Master()) // sends nothing
	if err != nil {
		return "", err
	}
	defer c.Close()
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	return host, err
}

// Exchange gives every rank's text to all ranks.
func Exchange(s *torch.Scope, g *torch.Group, text []byte) ([][]byte, error) {
	lengths := torch.ToData[int64](s, s.AllGather(g, torch.FromData(s, "cpu", []int64{int64(len(text))}, 1)))
	if err := s.Err(); err != nil {
		return nil, err
	}
	longest := int64(1)
	for _, n := range lengths {
		longest = max(longest, n)
	}
	padded := append(bytes.Clone(text), make([]byte, longest-int64(len(text)))...)
	all := torch.ToData[uint8](s, s.AllGather(g, torch.FromData(s, "cpu", padded, len(padded))))
	if err := s.Err(); err != nil {
		return nil, err
	}
	texts := make([][]byte, len(lengths))
	for i, n := range lengths {
		texts[i] = all[int64(i)*longest:][:n]
	}
	return texts, nil
}

// GatherInts joins the ranks' values, as many from each, in the order of the ranks.
func GatherInts(s *torch.Scope, g *torch.Group, values []int64) []int64 {
	return torch.ToData[int64](s, s.AllGather(g, torch.FromData(s, "cpu", values, len(values))))
}

// GatherRows joins the ranks' N×d matrices, several at once, in the order of the ranks: in one
// collective for all that have the same element type. The rows of this rank, which is number
// rank, keep their history.
func GatherRows(s *torch.Scope, g *torch.Group, rank int, own []torch.Tensor) []torch.Tensor {
	all := make([]torch.Tensor, len(own))
	byType := map[torch.DType][]int{}
	var types []torch.DType
	for i, t := range own {
		dtype := s.DType(t)
		if byType[dtype] == nil {
			types = append(types, dtype)
		}
		byType[dtype] = append(byType[dtype], i)
	}
	for _, dtype := range types {
		gatherColumns(s, g, rank, own, byType[dtype], all)
	}
	return all
}

// gatherColumns joins those of own, of one element type, that are named, as columns of one matrix.
func gatherColumns(s *torch.Scope, g *torch.Group, rank int, own []torch.Tensor, named []int, all []torch.Tensor) {
	parts := make([]torch.Tensor, len(named))
	for i, k := range named {
		parts[i] = s.Detach(own[k])
	}
	joined := s.AllGather(g, s.Concat(parts, 1))
	left := 0
	for _, k := range named {
		shape := s.Shape(own[k])
		if s.Err() != nil {
			return
		}
		columns := s.Slice(joined, 1, left, left+shape[1])
		from, to := rank*shape[0], (rank+1)*shape[0]
		all[k] = s.Concat([]torch.Tensor{s.Slice(columns, 0, 0, from), own[k], s.Slice(columns, 0, to, g.Size()*shape[0])}, 0)
		left += shape[1]
	}
}
