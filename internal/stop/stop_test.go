package stop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

func TestSaying(t *testing.T) {
	err := fmt.Errorf("rank 1: %w", Saying("stopped after step 3"))
	if err.Error() != "rank 1: stopped after step 3" {
		t.Errorf("it reads %q", err)
	}
	if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrNotExist) {
		t.Error("it is no cancellation, or something else, too")
	}
}
