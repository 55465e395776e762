-- What messages cost: what each was expected to cost when it went, what the provider billed, and small sums by day. Amounts are in
-- millionths of the currency.

-- For what is not urgent, while a sender's budget is used up.
alter type wait add value 'budget';

alter table attempts
  -- ISO 3166-1 alpha-2.
  add column country text,
  add column category text,
  add column currency text,
  add column predicted bigint,
  add column actual bigint,
  -- The transaction in which it entered the sums: it is settled, and it is known that the provider has it. Whoever writes it knows by it
  -- whether it was the first.
  add column counted_in xid8;
alter table attempts add constraint prediction_has_a_currency check (predicted is null or currency is not null) not valid;

-- Changes of the sums, put down beside what they come from: rows that nobody waits for. Upkeep folds them into daily_costs.
create table cost_changes (
  -- Of the attempt's claim, in UTC.
  day date not null,
  sender smallint not null,
  template text not null,
  country text not null,
  category text not null,
  -- Empty for what no price list knows.
  currency text not null,
  messages bigint not null,
  -- Of them, those that no price list knows.
  unpriced bigint not null,
  predicted bigint not null,
  -- Of which it is known what they cost, and what those were predicted to.
  known bigint not null,
  known_predicted bigint not null,
  actual bigint not null
);

create table daily_costs (
  like cost_changes,
  primary key (day, sender, template, country, category, currency)
);
