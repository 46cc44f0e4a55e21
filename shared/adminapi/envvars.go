package adminapi

const envPath = "/api/envvars"

// envView is a setting of the environment, with the names of the older system. A secret is masked before it gets here.
type envView struct {
	Name          string `json:"name"`
	Category      string `json:"category"`
	Default       string `json:"default_value"`
	Description   string `json:"description"`
	DescriptionZH string `json:"description_zh"`
	Secret        bool   `json:"is_secret"`
	Value         string `json:"current_value"`
	Set           bool   `json:"is_set"`
}

// envVars lists the settings of the environment, or those of one category.
func (c *call) envVars() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	only := c.r.URL.Query().Get("category")
	views := []envView{}
	for _, v := range c.a.o.Environment {
		if only == "" || v.Category == only {
			views = append(views, envView{Name: v.Name, Category: v.Category, Default: v.Default, Description: v.Description, DescriptionZH: v.DescriptionZH,
				Secret: v.Secret, Value: v.Value, Set: v.Set})
		}
	}
	return c.ok(map[string]any{"data": views})
}

// envCategories lists the categories that have settings.
func (c *call) envCategories() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	names := []string{}
	for _, v := range c.a.o.Environment {
		if n := len(names); n == 0 || names[n-1] != v.Category {
			names = append(names, v.Category)
		}
	}
	return c.ok(map[string]any{"data": names})
}
