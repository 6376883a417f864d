package cli

import (
	"fmt"
	"math"
	"time"
)

// until says when a moment is, for people: the date and how far it is.
func until(t, now time.Time) string {
	if t.IsZero() {
		return "unreadable"
	}
	return t.UTC().Format(time.DateOnly) + " (" + relative(t.Sub(now)) + ")"
}

func relative(d time.Duration) string {
	if d < 0 {
		return span(-max(d, -math.MaxInt64)) + " ago" // the smallest duration has no negative
	}
	return "in " + span(d)
}

// span rounds to the unit a person would use, downwards but for the last
// fiftieth of a unit.
func span(d time.Duration) string {
	const dayLength = 24 * time.Hour
	units := []struct {
		length time.Duration
		name   string
		from   time.Duration // smallest duration told in this unit
	}{
		{365 * dayLength, "year", 2 * 365 * dayLength},
		{30 * dayLength, "month", 90 * dayLength},
		{dayLength, "day", 2 * dayLength},
		{time.Hour, "hour", 2 * time.Hour},
		{time.Minute, "minute", time.Minute},
		{time.Second, "second", 0},
	}
	for _, u := range units {
		if d >= u.from {
			n := int(d / u.length)
			if d%u.length >= u.length-u.length/50 { // a new ten-year root has ten years
				n++
			}
			if n == 1 {
				return "1 " + u.name
			}
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return "0 seconds"
}
