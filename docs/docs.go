// Package docs holds the project's pages. Its test runs what they show.
package docs

//go:generate go run ../internal/docgen commands.md
