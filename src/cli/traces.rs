//! Where traces go, by the settings.

use uuid::Uuid;

use crate::{config::Settings, lifecycle::Lifecycle, telemetry::traces::Tracer, worker::exporter::Exporter};

/// What takes spans, and a role that sends them, if they are wanted. The role ends when nobody has the tracer any more.
///
/// # Errors
/// If they could not be sent: the address is none, or this system's certificates cannot be used.
pub fn begin(settings: &Settings, worker: Uuid, life: &Lifecycle) -> anyhow::Result<Tracer> {
    let Some(endpoint) = &settings.traces.endpoint else { return Ok(Tracer::default()) };
    let (tracer, spans) = Tracer::begin(settings.traces.share);
    let authorization = settings.traces.authorization.reveal().ok();
    let exporter = Exporter::new(worker, spans, endpoint, authorization)?;
    life.role("traces", exporter.run(life.clone()));
    Ok(tracer)
}
