package worker

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Rank is one of several processes that work together and have to meet. The zero Rank is
// alone.
type Rank struct {
	// Worker has the rank as its Index and the size of the world as its Count.
	Worker
	// Local numbers the ranks on one machine: it picks a device.
	Local int
	// Host and Port are where rank 0 waits for the others.
	Host string
	Port int
}

// Alone says whether there are no others to meet.
func (r Rank) Alone() bool { return r.Count <= 1 }

// Master is the address of rank 0, HOST:PORT.
func (r Rank) Master() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// defaultPort is torchrun's.
const defaultPort = 29500

// ParseRank asks the environment, for the first of
//
//	RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: torchrun, pipe launch
//	SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID: a task of srun
//
// Under Slurm rank 0 is on the first host of SLURM_JOB_NODELIST, and its port follows from the
// job's number, unless MASTER_ADDR and MASTER_PORT say otherwise. Slurm sets most of its
// variables for the script of a job, too, but SLURM_STEP_ID only for a task. Without any of
// them the process is alone.
func ParseRank(getenv func(string) string) (Rank, error) {
	switch {
	case getenv("RANK") != "":
		return parseRank(getenv, "RANK", "WORLD_SIZE", "LOCAL_RANK")
	case getenv("SLURM_PROCID") != "" && getenv("SLURM_STEP_ID") != "":
		size := "SLURM_NTASKS"
		if getenv("SLURM_STEP_NUM_TASKS") != "" {
			size = "SLURM_STEP_NUM_TASKS" // srun may start fewer than the job has
		}
		return parseRank(getenv, "SLURM_PROCID", size, "SLURM_LOCALID")
	}
	return Rank{}, nil
}

func parseRank(getenv func(string) string, rank, size, local string) (Rank, error) {
	w, err := parse(rank, getenv(rank), size, getenv(size))
	if err != nil {
		return Rank{}, err
	}
	if w.Count == 1 {
		return Rank{}, nil
	}
	r := Rank{Worker: w, Host: getenv("MASTER_ADDR")}
	if r.Local, err = number(local, cmp.Or(getenv(local), "0")); err != nil {
		return Rank{}, err
	}
	if r.Host == "" {
		if r.Host, err = firstHost(getenv("SLURM_JOB_NODELIST")); err != nil {
			return Rank{}, fmt.Errorf("worker: MASTER_ADDR is not set, and %w", err)
		}
	}
	if r.Port, err = port(getenv); err != nil {
		return Rank{}, err
	}
	return r, nil
}

func port(getenv func(string) string) (int, error) {
	text := getenv("MASTER_PORT")
	if text == "" {
		// Two jobs may share a machine.
		job, err := strconv.ParseUint(cmp.Or(getenv("SLURM_JOB_ID"), "0"), 10, 63)
		if err != nil {
			return 0, fmt.Errorf("worker: SLURM_JOB_ID is %q, want a number", getenv("SLURM_JOB_ID"))
		}
		return defaultPort + int(job%1000), nil
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err != nil || p == 0 {
		return 0, fmt.Errorf("worker: MASTER_PORT is %q, want a port from 1 to 65535", text)
	}
	return int(p), nil
}

// firstHost expands the first host of a list in Slurm's notation: "gpu[03-07,9],login"
// begins with gpu03, "rack[1-2]node[5,8]" with rack1node5.
func firstHost(list string) (string, error) {
	if list == "" {
		return "", errors.New("SLURM_JOB_NODELIST is empty")
	}
	var host strings.Builder
	rest := list
	for {
		end := strings.IndexAny(rest, "[],")
		if end < 0 {
			end = len(rest)
		}
		host.WriteString(rest[:end])
		if end == len(rest) || rest[end] == ',' {
			break
		}
		inside, after, ok := strings.Cut(rest[end+1:], "]")
		if rest[end] == ']' || !ok {
			return "", fmt.Errorf("SLURM_JOB_NODELIST %q is no list of hosts", list)
		}
		first, _, _ := strings.Cut(strings.ReplaceAll(inside, "-", ","), ",")
		if _, err := strconv.ParseUint(first, 10, 64); err != nil {
			return "", fmt.Errorf("SLURM_JOB_NODELIST %q has a range without a number", list)
		}
		host.WriteString(first)
		rest = after
	}
	if host.Len() == 0 {
		return "", fmt.Errorf("SLURM_JOB_NODELIST %q begins with no host", list)
	}
	return host.String(), nil
}
