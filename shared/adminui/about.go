package adminui

import (
	"time"

	"sluice"
	"sluice/shared/release"
)

func aboutPages() []*page {
	return []*page{
		{path: "/admin/about", title: "about.title", menu: "menu.tools", show: showAbout},
		{path: "/admin/changelog", title: "about.changelog", show: showChangelog},
		{path: "/changelog", title: "about.changelog", show: showChangelog}, // as the older gateway had it; on Lambda the proxy function answers there, in markdown
	}
}

// aboutView is the page that says which program this is.
type aboutView struct {
	Commit string
	Built  time.Time
	Go     string
	News   []block // the newest of the changelog
}

// maxNews is how many items of a list of the changelog the page shows.
const maxNews = 8

func showAbout(v *view) error {
	b := release.Read()
	d := &aboutView{Commit: b.Commit, Built: b.Date, Go: b.Go}
	for _, part := range markdown(sluice.Changelog()) {
		if part.Kind == "h2" && len(d.News) > 0 {
			break
		}
		if part.Lines = part.Lines[:min(len(part.Lines), maxNews)]; part.Kind == "h2" || len(d.News) > 0 {
			d.News = append(d.News, part)
		}
	}
	return v.render("about.html", d)
}

// BuildText is which program this is, as GET /version tells without a login, too.
func (v *view) BuildText() string {
	b := release.Read()
	built := ""
	if !b.Date.IsZero() {
		built = b.Date.Format("2006-01-02 15:04 UTC")
	}
	out := v.t("about.version") + ": " + v.c.o.Version
	for _, of := range [...][2]string{{"about.commit", b.Commit}, {"about.built", built}, {"about.go", b.Go}} {
		if of[1] != "" {
			out += "\n" + v.t(of[0]) + ": " + of[1]
		}
	}
	return out
}

func showChangelog(v *view) error { return v.render("changelog.html", markdown(sluice.Changelog())) }
