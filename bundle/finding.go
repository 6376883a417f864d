package bundle

// Level says how much a finding matters.
type Level string

// The levels, from worst to mildest. An error is something that stops a
// consumer or leaves a mesh open; a warning will, or may; an info is what an
// operator ought to know.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelInfo    Level = "info"
)

// Code names a kind of finding. Codes are stable: scripts depend on them.
type Code string

// The codes. docs/findings.md says of each what it means and what to do.
const (
	CodeExpired              Code = "expired"
	CodeNotYetValid          Code = "not-yet-valid"
	CodeExpiresSoon          Code = "expires-soon"
	CodeNotACA               Code = "not-a-ca"
	CodeNotARoot             Code = "not-a-root"
	CodeDuplicateAnchor      Code = "duplicate-anchor"
	CodeSameSubject          Code = "same-subject"
	CodeChainShortensLeaves  Code = "chain-shortens-leaves"
	CodeTrustScope           Code = "trust-scope"
	CodeUnsupportedKey       Code = "unsupported-key"
	CodePrivateKeyPresent    Code = "private-key-present"
	CodeUnreadableByIdentity Code = "unreadable-by-identity"
	CodeTruncatedForIdentity Code = "truncated-for-identity"
	CodeUnreadableByProxy    Code = "unreadable-by-proxy"
	CodeSkippedByProxy       Code = "skipped-by-proxy"
	CodeTooLargeForEnv       Code = "too-large-for-env"
	CodeWeakSignature        Code = "weak-signature"
	CodeEmpty                Code = "empty"
	CodeCopiesDisagree       Code = "copies-disagree"
	CodeBrokenBlock          Code = "broken-block"
	CodeForeignBlock         Code = "foreign-block"
	CodeGluedBlocks          Code = "glued-blocks"
	CodeTextOutsideBlocks    Code = "text-outside-blocks"
	CodeSourceNote           Code = "source-note"
)

// Finding is one observation about a bundle or the place it was read from. The
// JSON form is part of the command line's contract.
type Finding struct {
	Level   Level  `json:"level"`
	Code    Code   `json:"code"`
	Message string `json:"message"`           // what is so
	Hint    string `json:"hint,omitempty"`    // what to do about it
	Subject string `json:"subject,omitempty"` // which certificate, file or object
}

// Worst returns the worst level among the findings, "" when there are none.
func Worst(findings []Finding) Level {
	worst := Level("")
	for _, f := range findings {
		switch {
		case f.Level == LevelError:
			return LevelError
		case f.Level == LevelWarning, worst == "":
			worst = f.Level
		}
	}
	return worst
}
