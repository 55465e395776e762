-- What people wrote, and what they were answered, is kept for a time and not for ever: both are found by their age.
create index inbound_by_age on inbound (received_at);
create index replies_by_age on replies (at);

-- Who was merged into somebody is asked for whenever that one is shown, merged again or forgotten.
create index contacts_by_merged_into on contacts (merged_into) where merged_into is not null;

-- Who confirmed by another phone than was asked about.
create index opt_ins_by_confirmer on opt_ins (confirmed_by) where confirmed_by is not null;
