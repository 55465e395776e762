-- Why somebody released a hold, and why somebody decided about a message, in their own words.

alter table holds add column released_because text;
alter table timeline add column reason text;
