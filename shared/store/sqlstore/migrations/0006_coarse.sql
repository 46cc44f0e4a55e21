-- compatible: 1
-- Hours before the mark have coarse sums in sluice_days, also those of days that are not closed. The row is there from the
-- start, as those of 0005 are.
INSERT INTO sluice_marks (name, n)
  SELECT 'coarse_hours', -2562047788 FROM (SELECT COUNT(*) AS c FROM sluice_marks WHERE name = 'coarse_hours') t WHERE t.c = 0;
