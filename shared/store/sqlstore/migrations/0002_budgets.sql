-- compatible: 1
ALTER TABLE sluice_limits ADD COLUMN tokens_us $INT NOT NULL DEFAULT 0; -- bucket of tokens a minute
ALTER TABLE sluice_limits ADD COLUMN money_day $INT NOT NULL DEFAULT 0;
ALTER TABLE sluice_limits ADD COLUMN day_usd $INT NOT NULL DEFAULT 0; -- micro-USD, without what requests in flight reserved
ALTER TABLE sluice_limits ADD COLUMN month_no $INT NOT NULL DEFAULT 0;
ALTER TABLE sluice_limits ADD COLUMN month_usd $INT NOT NULL DEFAULT 0;
