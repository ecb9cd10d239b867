//! What a user may rely on, tested against the real program: one behaviour a
//! test, one subject a module.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod blocking;
#[cfg(test)]
mod browsers;
#[cfg(test)]
mod caches;
#[cfg(test)]
mod caching;
#[cfg(test)]
mod check;
#[cfg(test)]
mod client;
#[cfg(test)]
mod client_faults;
#[cfg(test)]
mod client_forms;
#[cfg(test)]
mod client_members;
#[cfg(test)]
mod client_scoped;
#[cfg(test)]
mod client_words;
#[cfg(test)]
mod codings;
#[cfg(test)]
mod collections;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod damage_campaign;
#[cfg(test)]
mod denied;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod exact_bytes;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod guesses;
#[cfg(test)]
mod held;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod http;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod indexes;
#[cfg(test)]
mod json_corpus;
#[cfg(test)]
mod jwt;
#[cfg(test)]
mod key_lists;
#[cfg(test)]
mod key_names;
#[cfg(test)]
mod key_waits;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod list_model;
#[cfg(test)]
mod log_copies;
#[cfg(test)]
mod moments;
#[cfg(test)]
mod monotonic;
#[cfg(test)]
mod moved_keys;
#[cfg(test)]
mod older_pages;
#[cfg(test)]
mod page;
#[cfg(test)]
mod parameters;
#[cfg(test)]
mod passed_streams;
#[cfg(test)]
mod previous_versions;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod redaction;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod scoped_copies;
#[cfg(test)]
mod scoped_lists;
#[cfg(test)]
mod scrub;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod several_lists;
#[cfg(test)]
mod starting;
#[cfg(test)]
mod states;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod supervised;
#[cfg(test)]
mod tenant_copies;
mod tenant_retention;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod time_to_live;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tls_probes;
#[cfg(test)]
mod token_repeats;
#[cfg(test)]
mod token_routes;
#[cfg(test)]
mod token_waits;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod told;
#[cfg(test)]
mod writing;
