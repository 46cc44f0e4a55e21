// Package sqltest is what a store on a SQL server promises beyond package storetest, as tests: exactness among instances,
// trips to the server, a server that comes late or dies, hostile text, migrations. It starts real servers.
package sqltest
