-- When a provider that has a list of messages was last asked for this one, and had none to this person that could be it: without
-- that, the silence of its reports proves nothing.
alter table attempts add column looked_at timestamptz;
