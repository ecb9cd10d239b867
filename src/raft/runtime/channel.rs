//! tokio's channels and mutex behind openraft's traits.

use std::future::Future;

use openraft_rt::{
    MpscReceiver, MpscSender, MpscWeakSender, OneshotSender, SendError, TryRecvError, mutex,
    oneshot, watch,
};
use tokio::sync::{self as tokio_sync, mpsc, watch as tokio_watch};

pub struct Mpsc;
pub struct Sender<T>(mpsc::Sender<T>);
pub struct Receiver<T>(mpsc::Receiver<T>);
pub struct WeakSender<T>(mpsc::WeakSender<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl openraft_rt::Mpsc for Mpsc {
    type Sender<T> = Sender<T>;
    type Receiver<T> = Receiver<T>;
    type WeakSender<T> = WeakSender<T>;

    fn channel<T>(buffer: usize) -> (Sender<T>, Receiver<T>) {
        let (tx, rx) = mpsc::channel(buffer);
        (Sender(tx), Receiver(rx))
    }
}

impl<T> MpscSender<Mpsc, T> for Sender<T> {
    async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.send(message).await.map_err(|error| SendError(error.0))
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade())
    }
}

impl<T> MpscReceiver<T> for Receiver<T> {
    fn recv(&mut self) -> impl Future<Output = Option<T>> {
        self.0.recv()
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }
}

impl<T> MpscWeakSender<Mpsc, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

pub struct Oneshot;
pub struct OneshotTx<T>(tokio_sync::oneshot::Sender<T>);

impl oneshot::Oneshot for Oneshot {
    type Sender<T> = OneshotTx<T>;
    type Receiver<T> = tokio_sync::oneshot::Receiver<T>;
    type ReceiverError = tokio_sync::oneshot::error::RecvError;

    fn channel<T>() -> (Self::Sender<T>, Self::Receiver<T>) {
        let (tx, rx) = tokio_sync::oneshot::channel();
        (OneshotTx(tx), rx)
    }
}

impl<T> OneshotSender<T> for OneshotTx<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

pub struct Watch;
pub struct WatchTx<T>(tokio_watch::Sender<T>);
pub struct WatchRx<T>(tokio_watch::Receiver<T>);

impl<T> Clone for WatchTx<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WatchRx<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl watch::Watch for Watch {
    type Sender<T> = WatchTx<T>;
    type Receiver<T> = WatchRx<T>;
    type Ref<'a, T: 'a> = tokio_watch::Ref<'a, T>;

    fn channel<T>(init: T) -> (WatchTx<T>, WatchRx<T>) {
        let (tx, rx) = tokio_watch::channel(init);
        (WatchTx(tx), WatchRx(rx))
    }
}

impl<T> watch::WatchSender<Watch, T> for WatchTx<T> {
    fn send(&self, value: T) -> Result<(), watch::SendError<T>> {
        self.0.send(value).map_err(|error| watch::SendError(error.0))
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.0.send_if_modified(modify)
    }

    fn borrow_watched(&self) -> tokio_watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn subscribe(&self) -> WatchRx<T> {
        WatchRx(self.0.subscribe())
    }
}

impl<T> watch::WatchReceiver<Watch, T> for WatchRx<T> {
    async fn changed(&mut self) -> Result<(), watch::RecvError> {
        self.0.changed().await.map_err(|_| watch::RecvError(()))
    }

    fn borrow_watched(&self) -> tokio_watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> tokio_watch::Ref<'_, T> {
        self.0.borrow_and_update()
    }
}

pub struct Mutex<T>(tokio_sync::Mutex<T>);

impl<T: 'static> mutex::Mutex<T> for Mutex<T> {
    type Guard<'a> = tokio_sync::MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Self(tokio_sync::Mutex::new(value))
    }

    fn lock(&self) -> impl Future<Output = Self::Guard<'_>> {
        self.0.lock()
    }
}
