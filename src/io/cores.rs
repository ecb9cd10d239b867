//! What code on a core may ask of its executor: to let others run, and to have
//! long or blocking work done elsewhere.

/// Lets other tasks of this core run when this one has run long enough.
pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

/// Lets other tasks of this core run.
pub async fn yield_now() {
    glommio::executor().yield_task_queue_now().await;
}

/// Runs `work` on one of the core's few blocking threads, for what would hold up
/// the core: more than a millisecond of computing, or a call that waits for the
/// disk.
pub async fn off_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    glommio::executor().spawn_blocking(work).await
}

/// The same for work that nobody waits for.
pub fn off_core_detached(work: impl FnOnce() + Send + 'static) {
    let executor = glommio::executor();
    glommio::spawn_local(async move { executor.spawn_blocking(work).await }).detach();
}
