//! AF_XDP ports where there are none: on systems other than Linux. What is named is refused, in a sentence.

use std::sync::Arc;

use pp_netdev::port::AfxdpName;
use pp_netdev::{FrameSink, FrameSource, StopFlag};

use crate::args::ForwardArgs;
use crate::failure::Failure;
use crate::report::Report;

/// No interface is up or down.
#[derive(Debug)]
pub(crate) enum PortState {}

/// There is nothing to say.
#[derive(Debug, Default)]
pub(crate) struct Interfaces;

/// No frames.
#[derive(Debug)]
pub(crate) enum Source {}

/// No frames.
#[derive(Debug)]
pub(crate) enum Sink {}

pub(crate) fn run(_: &ForwardArgs, port: &AfxdpName, _: &AfxdpName, _: &StopFlag) -> Result<Report, Failure> {
    Err(Failure::NoAfxdp { port: port.to_string() })
}

impl Interfaces {
    pub(crate) fn look(&mut self, _: &[Arc<PortState>], _: impl FnMut(&str)) {}
}

impl Source {
    pub(crate) fn open(_: &ForwardArgs, name: &AfxdpName) -> Result<Self, Failure> {
        Err(Failure::NoAfxdp { port: name.to_string() })
    }

    pub(crate) fn frames(&mut self) -> &mut dyn FrameSource {
        match *self {}
    }

    pub(crate) fn state(&self) -> Arc<PortState> {
        match *self {}
    }

    pub(crate) fn close_into(self, _: &mut Report) {
        match self {}
    }
}

impl Sink {
    pub(crate) fn open(_: &ForwardArgs, name: &AfxdpName) -> Result<Self, Failure> {
        Err(Failure::NoAfxdp { port: name.to_string() })
    }

    pub(crate) fn frames(&mut self) -> &mut dyn FrameSink {
        match *self {}
    }

    pub(crate) fn state(&self) -> Arc<PortState> {
        match *self {}
    }

    pub(crate) fn close_into(self, _: &mut Report) {
        match self {}
    }
}
