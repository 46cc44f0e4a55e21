package config

import (
	"reflect"
	"slices"

	"sluice/shared/core"
)

// Variable is a setting of the environment as administrators are shown it.
type Variable struct {
	Name          string
	Category      string // one of Categories
	Default       string // of who sets nothing; empty: none, or it depends on others
	Description   string
	DescriptionZH string
	Secret        bool
	Value         string // as it is set; of a secret a mask
	Set           bool
}

// Categories are the groups of variables, in the order in which they are shown.
func Categories() []string {
	return []string{"basic", "multiTenant", "store", "amazonq", "health", "warmup", "retry", "circuit", "transport", "log", "usage", "metrics", "traces"}
}

// Variables are all settings with what set holds of them, grouped by category. Secrets are masked here already, so that who
// shows the list cannot tell them.
func Variables(set map[string]string) []Variable {
	t := reflect.TypeFor[Config]()
	fields := map[string]reflect.StructField{}
	for i := range t.NumField() {
		if n := t.Field(i).Tag.Get("env"); n != "" && n != "-" {
			fields[n] = t.Field(i)
		}
	}
	var out []Variable
	for _, v := range described() {
		f, ok := fields[v.Name]
		if !ok && v.Category != "traces" { // those are read by their own names, see Traces
			continue
		}
		if d := f.Tag.Get("envDefault"); d != "" {
			v.Default = d
		}
		v.Secret = v.Secret || ok && f.Type == reflect.TypeFor[core.Secret]()
		if v.Value = set[v.Name]; v.Value != "" {
			v.Set = true
			if v.Secret {
				v.Value = mask(v.Value)
			}
		}
		out = append(out, v)
	}
	order := Categories()
	slices.SortStableFunc(out, func(a, b Variable) int {
		return slices.Index(order, a.Category) - slices.Index(order, b.Category)
	})
	return out
}

// mask leaves of a secret what tells it from another one; of a short one, nothing.
func mask(s string) string {
	if len(s) < 12 {
		return "****"
	}
	return s[:4] + "****" + s[len(s)-4:]
}

// described are the variables in words, as in README's tables. A test holds it against Config.
func described() []Variable {
	return []Variable{
		{Name: "LISTEN_ADDR", Category: "basic", Description: "address to listen on, such as :8000; beats PORT", DescriptionZH: "监听地址，如 :8000；优先于 PORT"},
		{Name: "PORT", Category: "basic", Description: "port to listen on", DescriptionZH: "监听端口"},
		{Name: "PUBLIC_URL", Category: "basic", Description: "address under which clients and browsers reach the gateway, with its path prefix; https makes cookies secure", DescriptionZH: "客户端和浏览器访问网关的地址，含路径前缀；https 时 cookie 带 Secure"},
		{Name: "ADMIN_API_KEY", Category: "basic", Default: "admin", Description: "administers everything", DescriptionZH: "管理一切"},
		{Name: "ALLOW_DEFAULT_CREDENTIALS", Category: "basic", Default: "false", Description: "lets the published keys work from anywhere", DescriptionZH: "允许公开的默认密钥从任何地方使用"},
		{Name: "AUDIT_DAYS", Category: "basic", Description: "days that an entry of the audit log is kept", DescriptionZH: "审计日志每条记录的保留天数"},
		{Name: "CAPTURE_URL", Category: "basic", Description: "file:DIR or s3://BUCKET/PREFIX?region=REGION: where bodies go of accounts that an administrator has captured; empty: there is no capture", DescriptionZH: "file:目录 或 s3://桶/前缀?region=区域：管理员为某账号开启正文捕获后的存放处；不设则无法捕获"},
		{Name: "DEFAULT_ACCOUNT_NAME", Category: "multiTenant", Default: "default", Description: "name of the account with the id default", DescriptionZH: "id 为 default 的账号的名称"},
		{Name: "DEFAULT_PROXY_API_KEY", Category: "multiTenant", Default: "default-proxy-key", Description: "key of the account default", DescriptionZH: "账号 default 的密钥"},
		{Name: "UPSTREAM_BASE_URL", Category: "multiTenant", Default: "https://api.anthropic.com", Description: "address of that account's first node", DescriptionZH: "该账号第一个节点的地址"},
		{Name: "UPSTREAM_API_KEY", Category: "multiTenant", Description: "credential of that account's first node", DescriptionZH: "该账号第一个节点的凭证"},
		{Name: "UPSTREAM_NAME", Category: "multiTenant", Default: "default", Description: "name of that account's first node", DescriptionZH: "该账号第一个节点的名称"},
		{Name: "LIMITS_TIME_ZONE", Category: "multiTenant", Default: "UTC", Description: "where the days of request limits begin", DescriptionZH: "每日限额的日界所用时区"},
		{Name: "AMAZONQ_REFRESH_TOKEN", Category: "amazonq", Description: "refresh token of the default account's node amazonq; set all three of the login or none", DescriptionZH: "默认账号的 amazonq 节点的刷新令牌；登录信息三者要么都设，要么都不设"},
		{Name: "AMAZONQ_CLIENT_ID", Category: "amazonq", Description: "client id of that login", DescriptionZH: "该登录的客户端 id"},
		{Name: "AMAZONQ_CLIENT_SECRET", Category: "amazonq", Description: "client secret of that login", DescriptionZH: "该登录的客户端密钥"},
		{Name: "AMAZONQ_PROFILE_ARN", Category: "amazonq", Description: "profile of that login; without one the service chooses", DescriptionZH: "该登录的 profile；不设则由服务选择"},
		{Name: "AMAZONQ_API_ENDPOINT", Category: "amazonq", Description: "address of Amazon Q for all nodes that have none of their own", DescriptionZH: "所有未自带地址的 Amazon Q 节点的地址"},
		{Name: "AMAZONQ_TOKEN_ENDPOINT", Category: "amazonq", Description: "address of AWS's token service for all nodes that have none of their own", DescriptionZH: "所有未自带地址的节点所用的 AWS 令牌服务地址"},
		{Name: "AWS_REGION", Category: "basic", Description: "region of Bedrock nodes that use this machine's AWS identity and name none; AWS_DEFAULT_REGION where it is missing", DescriptionZH: "使用本机 AWS 身份且未指定区域的 Bedrock 节点所用的区域；未设时取 AWS_DEFAULT_REGION"},
		{Name: "AWS_DEFAULT_REGION", Category: "basic", Description: "the same, where AWS_REGION is not set", DescriptionZH: "未设 AWS_REGION 时同上"},
		{Name: "STORE_URL", Category: "store", Default: "sqlite:data/sluice.db", Description: "where everything is kept; memory: keeps nothing", DescriptionZH: "数据存放处；memory: 不保存"},
		{Name: "DATABASE_PATH", Category: "store", Description: "path of the SQLite file; STORE_URL beats it", DescriptionZH: "SQLite 文件路径；STORE_URL 优先"},
		{Name: "PROXY_MYSQL_DSN", Category: "store", Description: "the MySQL store as the older guide writes it, user:pass@tcp(host:3306)/db; STORE_URL beats it", DescriptionZH: "旧指南写法的 MySQL 存储，user:pass@tcp(host:3306)/db；STORE_URL 优先"},
		{Name: "SLUICE_MASTER_KEY", Category: "store", Description: "base64 of 32 bytes; seals node credentials", DescriptionZH: "32 字节的 base64；用于封存节点凭证"},
		{Name: "STORE_OUTAGE", Category: "store", Description: "while the store is away: closed refuses requests with 503, open lets in those whose key is known, without limits", DescriptionZH: "存储不可用时：closed 以 503 拒绝请求，open 放行已知密钥的请求，不计限额"},
		{Name: "STORE_SPOOL_DIR", Category: "store", Description: "folder for usage that the store did not take; stored when it answers again. off: the log has it", DescriptionZH: "存储未能接收的用量先写在这里，恢复后补存；off：只写日志"},
		{Name: "STORE_SPOOL_MAX_BYTES", Category: "store", Description: "most bytes that wait in STORE_SPOOL_DIR", DescriptionZH: "STORE_SPOOL_DIR 最多占用的字节数"},
		{Name: "PROXY_HEALTH_INTERVAL_SEC", Category: "health", Description: "seconds until a failed node is tried again", DescriptionZH: "失败节点多少秒后再试"},
		{Name: "HEALTH_ALL_INTERVAL_MIN", Category: "health", Description: "minutes between health checks of all nodes; 0: only failed nodes are checked. Functions have a schedule instead", DescriptionZH: "每隔多少分钟检查所有节点；0：只检查失败节点。云函数由定时计划代替"},
		{Name: "WARMUP_ENABLED", Category: "warmup", Description: "a failed node proves itself by further checks before it comes back", DescriptionZH: "失败节点恢复前先经过预热检查"},
		{Name: "WARMUP_ATTEMPTS", Category: "warmup", Description: "checks of a warm-up, the one that found the node well included, 1 to 10", DescriptionZH: "预热的检查次数，含首次成功的检查，1 到 10"},
		{Name: "WARMUP_REQUIRED_SUCCESS", Category: "warmup", Description: "how many checks of a warm-up must be good", DescriptionZH: "预热检查中必须成功的次数"},
		{Name: "WARMUP_TIMEOUT_MS", Category: "warmup", Description: "time of each check of a warm-up", DescriptionZH: "每次预热检查的时限（毫秒）"},
		{Name: "WARMUP_CONCURRENCY", Category: "warmup", Description: "nodes that are warmed up at a time, 1 to 8", DescriptionZH: "同时预热的节点数，1 到 8"},
		{Name: "PROXY_RETRY_MAX", Category: "retry", Description: "tries on one node within a request, 1 to 10", DescriptionZH: "一个请求在同一节点上的尝试次数，1 到 10"},
		{Name: "PROXY_FAIL_THRESHOLD", Category: "circuit", Description: "counted failures in a row until a node is left alone", DescriptionZH: "连续多少次失败后停用节点"},
		{Name: "AFFINITY_MAX_FIRST_BYTE", Category: "circuit", Description: "mean time to the first content beyond which sessions leave a node until it is fast again; 0: they stay", DescriptionZH: "首个内容的平均耗时超过此值时，会话离开该节点，直到它恢复；0：不离开"},
		{Name: "AFFINITY_MAX_ERROR_RATE", Category: "circuit", Description: "share of failed requests beyond which sessions leave a node; 0: they stay", DescriptionZH: "失败请求占比超过此值时会话离开该节点；0：不离开"},
		{Name: "UPSTREAM_ALLOW_PRIVATE", Category: "transport", Default: "false", Description: "lets nodes that were added through the API have private or loopback addresses; or a list of CIDRs", DescriptionZH: "允许通过 API 添加的节点使用私有或回环地址；或填 CIDR 列表"},
		{Name: "HTTPS_PROXY", Category: "transport", Description: "proxy for https upstreams; it resolves names itself, so the check of private addresses then sees written addresses only", DescriptionZH: "访问 https 上游的代理；域名由代理解析，此时私有地址检查只能看到直接写出的 IP"},
		{Name: "NO_PROXY", Category: "transport", Description: "hosts that are reached without HTTPS_PROXY, comma-separated", DescriptionZH: "不经 HTTPS_PROXY 访问的主机，逗号分隔"},
		{Name: "TRUSTED_PROXIES", Category: "transport", Description: "CIDRs of proxies whose X-Forwarded-For counts", DescriptionZH: "可信代理的 CIDR，其 X-Forwarded-For 生效"},
		{Name: "CORS_ALLOW_ORIGINS", Category: "transport", Description: "origins whose pages may call the API, comma-separated, or *", DescriptionZH: "允许调用 API 的网页来源，逗号分隔，或 *"},
		{Name: "MAX_BODY_BYTES", Category: "transport", Description: "largest request body", DescriptionZH: "请求体上限"},
		{Name: "MAX_BODY_MEMORY", Category: "transport", Description: "memory for all request bodies together", DescriptionZH: "所有请求体共用的内存"},
		{Name: "STREAM_SILENCE_TIMEOUT", Category: "transport", Description: "how long an upstream may be silent within a stream", DescriptionZH: "流中上游最长静默时间"},
		{Name: "ANSWER_TIMEOUT", Category: "transport", Description: "how long the answer of a request without streaming may take", DescriptionZH: "非流式请求的最长等待"},
		{Name: "DRAIN_TIMEOUT", Category: "transport", Description: "how long running streams may go on after SIGTERM", DescriptionZH: "收到 SIGTERM 后正在进行的流最多再跑多久"},
		{Name: "LOG_LEVEL", Category: "log", Description: "debug, info, warn or error", DescriptionZH: "debug、info、warn 或 error"},
		{Name: "LOG_FORMAT", Category: "log", Description: "text or json", DescriptionZH: "text 或 json"},
		{Name: "ACCESS_LOG", Category: "log", Description: "one line per request, without content", DescriptionZH: "每个请求一行，不含内容"},
		{Name: "ACCESS_LOG_SAMPLE", Category: "log", Description: "share of requests without an error that get a line; errors always do", DescriptionZH: "成功请求中写入日志的比例；出错的请求总会写入"},
		{Name: "USAGE_RECORDS_DAYS", Category: "usage", Description: "days that records of requests are kept; 0: for ever", DescriptionZH: "请求记录的保留天数；0 表示永久"},
		{Name: "USAGE_HOURS_DAYS", Category: "usage", Description: "days that hourly sums are kept; 0: for ever", DescriptionZH: "小时汇总的保留天数；0 表示永久"},
		{Name: "USAGE_DAYS_DAYS", Category: "usage", Description: "days that daily sums are kept; 0: for ever", DescriptionZH: "日汇总的保留天数；0 表示永久"},
		{Name: "METRICS_ADDR", Category: "metrics", Description: "address such as 127.0.0.1:9100 that serves /metrics without a key; else the main port does, to admin keys", DescriptionZH: "例如 127.0.0.1:9100：在该地址无需密钥提供 /metrics；否则由主端口提供，需管理员密钥"},
		{Name: "METRICS_EMF", Category: "metrics", Description: "functions write metrics for CloudWatch into their log", DescriptionZH: "函数把 CloudWatch 指标写进日志"},
		{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Category: "traces", Description: "base address of a collector; traces go to /v1/traces below it", DescriptionZH: "采集器的基础地址；链路追踪发往其下的 /v1/traces"},
		{Name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Category: "traces", Description: "whole address for traces", DescriptionZH: "链路追踪的完整地址"},
		{Name: "OTEL_TRACES_EXPORTER", Category: "traces", Description: "otlp, console or none; otlp where an endpoint is set", DescriptionZH: "otlp、console 或 none；设了地址时为 otlp"},
		{Name: "OTEL_EXPORTER_OTLP_PROTOCOL", Category: "traces", Default: "http/protobuf", Description: "http/protobuf or http/json", DescriptionZH: "http/protobuf 或 http/json"},
		{Name: "OTEL_EXPORTER_OTLP_HEADERS", Category: "traces", Secret: true, Description: "headers of exports, name=value, comma-separated", DescriptionZH: "导出请求的请求头，名=值，逗号分隔"},
		{Name: "OTEL_EXPORTER_OTLP_COMPRESSION", Category: "traces", Default: "none", Description: "gzip or none", DescriptionZH: "gzip 或 none"},
		{Name: "OTEL_EXPORTER_OTLP_TIMEOUT", Category: "traces", Default: "10000", Description: "ms of one export", DescriptionZH: "一次导出的时限（毫秒）"},
		{Name: "OTEL_SERVICE_NAME", Category: "traces", Default: "sluice", Description: "what traces call this gateway", DescriptionZH: "链路追踪中本网关的名称"},
		{Name: "OTEL_RESOURCE_ATTRIBUTES", Category: "traces", Description: "what else traces tell of it, name=value, comma-separated", DescriptionZH: "链路追踪中的其他属性，名=值，逗号分隔"},
		{Name: "OTEL_TRACES_SAMPLER", Category: "traces", Default: "always_on", Description: "which requests are traced", DescriptionZH: "采样方式"},
		{Name: "OTEL_TRACES_SAMPLER_ARG", Category: "traces", Default: "1", Description: "share of them, 0 to 1, of the samplers by ratio", DescriptionZH: "按比例采样时的比例，0 到 1"},
		{Name: "OTEL_PROPAGATORS", Category: "traces", Default: "tracecontext", Description: "none: trace context is neither read nor made", DescriptionZH: "none：不读取也不生成链路上下文"},
		{Name: "OTEL_BSP_SCHEDULE_DELAY", Category: "traces", Default: "5000", Description: "ms between two exports", DescriptionZH: "两次导出的间隔（毫秒）"},
		{Name: "OTEL_BSP_EXPORT_TIMEOUT", Category: "traces", Default: "30000", Description: "ms that a batch waits for its export", DescriptionZH: "一批导出的等待时限（毫秒）"},
		{Name: "OTEL_BSP_MAX_QUEUE_SIZE", Category: "traces", Default: "2048", Description: "spans that wait at most", DescriptionZH: "最多等待的 span 数"},
		{Name: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", Category: "traces", Default: "512", Description: "spans of one export at most", DescriptionZH: "一次导出的 span 上限"},
		{Name: "OTEL_SDK_DISABLED", Category: "traces", Default: "false", Description: "true: no traces, whatever else is set", DescriptionZH: "true：无论其他设置如何都不追踪"},
	}
}
