package notify

import (
	"slices"

	"sluice/shared/core"
)

// EventInfo describes a type of events to who may subscribe to it.
type EventInfo struct {
	Type          core.EventType `json:"type"`
	Category      string         `json:"category"` // node, request, account, alert, system
	Title         string         `json:"title"`    // begins the messages
	Description   string         `json:"description"`
	DescriptionZH string         `json:"description_zh"`
}

// Catalogue returns every type of events that can be subscribed to.
func Catalogue() []EventInfo {
	return []EventInfo{
		{core.EventNodeStatus, "node", "Node changed state", "A node's state changed", "节点状态变化"},
		{core.EventNodeSwitched, "node", "Node switched", "Another node became the active one", "切换了当前节点"},
		{core.EventNodeFailed, "node", "Node failed", "A node failed and gets no requests until it recovers", "节点故障，恢复前不再接收请求"},
		{core.EventNodeRecovered, "node", "Node recovered", "A failed node works again", "故障节点已恢复"},
		{core.EventNodeAdded, "node", "Node added", "A node was added", "新增节点"},
		{core.EventNodeDeleted, "node", "Node deleted", "A node was deleted", "删除节点"},
		{core.EventNodeUpdated, "node", "Node changed", "A node's settings were changed", "节点配置已修改"},
		{core.EventNodeEnabled, "node", "Node enabled", "A node was enabled", "节点已启用"},
		{core.EventNodeDisabled, "node", "Node disabled", "A node was disabled", "节点已停用"},
		{core.EventNodeCheckFailed, "node", "Health check failed", "A health check of a node failed", "节点健康检查失败"},
		{core.EventRequestFailed, "request", "Request failed", "A request failed on every node that could serve it", "请求在所有可用节点上均失败"},
		{core.EventUpstreamError, "request", "Upstream error", "An upstream answered a request with an error", "上游返回错误"},
		{core.EventProxyError, "request", "Gateway error", "The gateway itself could not serve a request", "网关自身处理请求出错"},
		{core.EventQuotaWarning, "account", "Budget warning", "A budget or quota is used up to 80 % or 100 %", "预算或配额已使用 80% 或 100%"},
		{core.EventAuthFailed, "account", "Credential refused", "An upstream refuses a node's credential, or a login is needed", "上游凭证失效或需要重新登录"},
		{core.EventAlert, "alert", "Alert", "An alert rule's condition holds", "告警规则触发"},
		{core.EventAlertEnded, "alert", "Alert ended", "An alert rule's condition holds no more", "告警解除"},
		{core.EventSystemError, "system", "System error", "The installation has a problem; told to administrators only", "系统错误（仅通知管理员）"},
	}
}

// Known reports whether a type of events can be subscribed to.
func Known(t core.EventType) bool {
	return slices.ContainsFunc(Catalogue(), func(i EventInfo) bool { return i.Type == t })
}

// describe returns the category and title of a type; of an unknown one the type itself is the title.
func describe(t core.EventType) (category, title string) {
	for _, i := range Catalogue() {
		if i.Type == t {
			return i.Category, i.Title
		}
	}
	return string(t), string(t)
}

// Kinds returns the kinds of channels, Guide A's names last.
func Kinds() []string {
	return []string{KindWebhook, KindSlack, KindDingTalk, KindFeishu, KindWeCom, KindTelegram, KindEmail, KindSNS,
		KindWeChatWork, KindWeChatPersonal}
}
