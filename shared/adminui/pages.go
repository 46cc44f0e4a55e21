package adminui

import "slices"

// pages are the console's, in the order of the menu.
func pages() []*page {
	return slices.Concat([]*page{
		{path: "/login", title: "login.title", open: true, show: showLogin, acts: map[string]func(*view) error{"login": doLogin, "language": doLanguage}},
		{path: "/admin", title: "overview.title", menu: "menu.watch", icon: "gauge", show: showOverview, live: true},
	}, usagePages(), keyPages(), pricingPages(), nodesPages(), compatPages(), monitorPages(), tenantPages(), notifyPages(), settingsPages(), poolPages(), auditPages(), setupPages(), playPages(), aboutPages())
}
