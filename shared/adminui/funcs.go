package adminui

import (
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/html"
)

// methods are the methods that templates use, as functions of their receiver: a template that named a method would have it
// looked up by reflection, and a program that does so keeps every exported method of everything it is linked of. No name is
// also a field's.
func methods() template.FuncMap {
	return template.FuncMap{
		"zero": time.Time.IsZero,
		"iso":  func(t time.Time) string { return t.Format(time.RFC3339) },

		// the view
		"ActionText":     (*view).ActionText,
		"Asset":          (*view).Asset,
		"BuildText":      (*view).BuildText,
		"Checklist":      (*view).Checklist,
		"Column":         (*view).Column,
		"DoneText":       (*view).DoneText,
		"GatewayVersion": (*view).GatewayVersion,
		"Inside":         (*view).Inside,
		"Lang":           (*view).Lang,
		"LinkTo":         (*view).LinkTo,
		"LiveStream":     (*view).LiveStream,
		"Say":            (*view).Say,
		"Menu":           (*view).Menu,
		"NodeLink":       (*view).NodeLink,
		"Noun":           (*view).Noun,
		"Now":            (*view).Now,
		"OtherLang":      (*view).OtherLang,
		"PageTitle":      (*view).PageTitle,
		"PoolLink":       (*view).PoolLink,
		"PoolList":       (*view).PoolList,
		"Pager":          (*view).Pager,
		"Query":          (*view).Query,
		"Return":         (*view).Return,
		"Self":           (*view).Self,
		"SettingName":    (*view).SettingName,
		"T":              (*view).T,
		"Ticked":         (*view).Ticked,
		"UsageTabs":      (*view).UsageTabs,
		"Wide":           (*view).Wide,
		"With":           (*view).With,

		// one type's
		"RowKey":        (*compatRow).RowKey,
		"RowChoices":    (*compatView).RowChoices,
		"RowFilters":    (*compatView).RowFilters,
		"Actions":       (*auditView).Actions,
		"Filtered":      (*auditView).Filtered,
		"BarLength":     (*budget).BarLength,
		"BarLevel":      (*budget).BarLevel,
		"AlsoText":      (*entry).AlsoText,
		"Differences":   (*entry).Differences,
		"Ref":           (*entry).Ref,
		"WasRefused":    (*entry).WasRefused,
		"ErrorOf":       (*form).ErrorOf,
		"Has":           (*form).Has,
		"ValueOf":       (*form).ValueOf,
		"KeyTitle":      (*key).KeyTitle,
		"Scope":         (*key).Scope,
		"ScopeChoices":  (*keysView).ScopeChoices,
		"None":          limits.None,
		"NameOfKey":     (*usageView).NameOfKey,
		"NodeTitle":     (*logRow).NodeTitle,
		"StatusCode":    (*logRow).StatusCode,
		"CachedShare":   (*nodeRow).CachedShare,
		"IsOwn":         (*nodesView).IsOwn,
		"Methods":       (*nodesView).Methods,
		"Pool":          (*nodesView).Pool,
		"Wires":         (*nodesView).Wires,
		"BarClasses":    (*nodeView).BarClasses,
		"Took":          (*seen).Took,
		"ChannelName":   (*notifyView).ChannelName,
		"Columns":       (*notifyView).Columns,
		"Is":            (*notifyView).Is,
		"RuleKinds":     (*notifyView).RuleKinds,
		"Settings":      (*notifyView).Settings,
		"Tabs":          (*notifyView).Tabs,
		"NameOfNode":    (*overview).NameOfNode,
		"PerMinute":     (*overview).PerMinute,
		"Usage":         (*overview).Usage,
		"APIs":          (*playView).APIs,
		"Facts":         (*playView).Facts,
		"ConfirmAt":     (*poolLogin).ConfirmAt,
		"Every":         (*poolLogin).Every,
		"Left":          (*poolLogin).Left,
		"Pending":       (*poolLogin).Pending,
		"Usages":        (*poolQuota).Usages,
		"QuotaName":     (*poolUsage).QuotaName,
		"Ways":          (*poolView).Ways,
		"HasMore":       (*price).HasMore,
		"IsSet":         (*price).IsSet,
		"PercentOf":     (*price).PercentOf,
		"PriceID":       (*price).PriceID,
		"Rates":         (*pricingView).Rates,
		"Sources":       (*pricingView).Sources,
		"Known":         (*rates).Known,
		"Terms":         (*sharesView).Terms,
		"CachedPercent": (*sum).CachedPercent,
		"FailedCount":   (*sum).FailedCount,
		"ShareOf":       (*sum).ShareOf,
		"Succeeded":     (*sum).Succeeded,
		"TookP50":       (*sum).TookP50,
		"TookP95":       (*sum).TookP95,
		"IsFirst":       (*tenant).IsFirst,
		"Maps":          (*tenant).Maps,
		"ChartOf":       (*usageView).ChartOf,
		"Export":        (*usageView).Export,
		"Formats":       (*usageView).Formats,
		"Kept":          (*usageView).Kept,
		"Narrow":        (*usageView).Narrow,
		"Only":          (*usageView).Only,
		"SpanChoices":   (*usageView).SpanChoices,
		"SumName":       (*usageView).SumName,
		"Upper":         (*usageView).Upper,
		"WithFilter":    (*usageView).WithFilter,
		"ProblemText":   (*watched).ProblemText,

		// of nodes of kind bedrock
		"BedrockAPIs":     (*nodesView).BedrockAPIs,
		"CredentialForms": (*nodesView).CredentialForms,
		"KeptFields":      (*nodesView).KeptFields,

		// of several types, or of what such a type is part of
		"Bar":           hasBar.Bar,
		"Chart":         hasChart.Chart,
		"Classes":       hasClasses.Classes,
		"Figures":       hasFigures.Figures,
		"IDText":        hasIDText.IDText,
		"Kinds":         hasKinds.Kinds,
		"Marked":        hasMarked.Marked,
		"NameOfAccount": hasNameOfAccount.NameOfAccount,
		"Rate":          hasRate.Rate,
		"Shown":         hasShown.Shown,
		"SuccessShare":  hasSuccessShare.SuccessShare,
		"TextIn":        hasTextIn.TextIn,
		"WhyUnwell":     hasWhyUnwell.WhyUnwell,
		"Windowed":      hasWindowed.Windowed,
		"ZoneName":      hasZoneName.ZoneName,
	}
}

// What templates ask of values of several types.
type (
	hasBar           interface{ Bar() poolBar }
	hasChart         interface{ Chart() [3][]int64 }
	hasClasses       interface{ Classes() []class }
	hasFigures       interface{ Figures() []string }
	hasIDText        interface{ IDText() string }
	hasKinds         interface{ Kinds() []string }
	hasMarked        interface{ Marked() []int64 }
	hasNameOfAccount interface{ NameOfAccount(id string) string }
	hasRate          interface{ Rate() float64 }
	hasShown         interface{ Shown() string }
	hasSuccessShare  interface{ SuccessShare() float64 }
	hasTextIn        interface{ TextIn(lang string) string }
	hasWhyUnwell     interface{ WhyUnwell() string }
	hasWindowed      interface{ Windowed() bool }
	hasZoneName      interface{ ZoneName() string }
)
