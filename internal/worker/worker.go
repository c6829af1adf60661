// Package worker says which of a job's workers this process is. Each scheduler has its own
// environment variables for that.
package worker

import (
	"fmt"
	"strconv"
	"strings"
)

// Worker is one of several: it does tasks Index, Index+Count, Index+2·Count ...
type Worker struct{ Index, Count int }

// Tasks are this worker's of n tasks.
func (w Worker) Tasks(n int) []int {
	var tasks []int
	for i := w.Index; i < n; i += w.Count {
		tasks = append(tasks, i)
	}
	return tasks
}

// String is the flag's value.
func (w Worker) String() string { return fmt.Sprintf("%d/%d", w.Index, w.Count) }

// Parse reads I/N, or auto, which asks the environment for the first of
//
//	PIPE_WORKER, PIPE_WORKERS
//	SLURM_ARRAY_TASK_ID, with _MIN, _STEP and _COUNT: a Slurm array, of any numbers
//	JOB_COMPLETION_INDEX, PIPE_WORKERS: a Kubernetes Indexed Job, which does not tell its size
//	RANK, WORLD_SIZE: torchrun and its like
//
// Without any of them it is the only one, 0/1.
func Parse(flag string, getenv func(string) string) (Worker, error) {
	if flag != "auto" {
		index, count, ok := strings.Cut(flag, "/")
		if !ok {
			return Worker{}, fmt.Errorf("worker %q is neither auto nor I/N", flag)
		}
		return parse("I", index, "N", count)
	}
	for _, name := range []string{"PIPE_WORKER", "JOB_COMPLETION_INDEX"} {
		if name == "JOB_COMPLETION_INDEX" && getenv("SLURM_ARRAY_TASK_ID") != "" {
			return slurm(getenv)
		}
		if index := getenv(name); index != "" {
			return parse(name, index, "PIPE_WORKERS", getenv("PIPE_WORKERS"))
		}
	}
	if rank := getenv("RANK"); rank != "" {
		return parse("RANK", rank, "WORLD_SIZE", getenv("WORLD_SIZE"))
	}
	return Worker{0, 1}, nil
}

func parse(indexName, index, countName, count string) (Worker, error) {
	i, err := number(indexName, index)
	if err != nil {
		return Worker{}, err
	}
	n, err := number(countName, count)
	if err != nil {
		return Worker{}, err
	}
	if i >= n {
		return Worker{}, fmt.Errorf("worker %s=%d is not below %s=%d", indexName, i, countName, n)
	}
	return Worker{i, n}, nil
}

func number(name, text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("worker: %s is %q, want a number", name, text)
	}
	return int(n), nil
}

// slurm counts an array's tasks from its lowest number: --array=3-9:2 has four workers.
func slurm(getenv func(string) string) (Worker, error) {
	var values [4]int
	for i, name := range []string{"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT"} {
		text := getenv(name)
		if name == "SLURM_ARRAY_TASK_STEP" && text == "" {
			text = "1" // older versions do not tell it
		}
		var err error
		if values[i], err = number(name, text); err != nil {
			return Worker{}, err
		}
	}
	id, first, step, count := values[0], values[1], max(values[2], 1), values[3]
	if w := (Worker{(id - first) / step, count}); id >= first && (id-first)%step == 0 && w.Index < w.Count {
		return w, nil
	}
	return Worker{}, fmt.Errorf("worker: SLURM_ARRAY_TASK_ID=%d is none of %d tasks from %d on in steps of %d: give the array as one range, or --worker I/N", id, count, first, step)
}
