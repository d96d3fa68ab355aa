//! Results that wait for the gate: at a step, nothing further goes on before it has said so.

use crate::gate::{Course, InForce, Step};
use crate::mask::Stop;
use crate::protocol::frame::Frame;
use crate::protocol::run::Run;

use super::{Asking, Session, refusals};

/// What waits.
#[derive(Debug)]
pub(super) enum Parked {
    /// Rows.
    Rows(Run),
    /// The value of a FunctionCall.
    Value(Frame),
    /// COPY data of the client.
    Copy(Run),
}

impl Session {
    /// Other rules are in force. To be told before anything is judged by them, or never: then nothing is asked.
    pub fn rules(&mut self, in_force: InForce) {
        self.in_force = Some(in_force);
    }

    /// Whether a result waits, so that nothing is to be read from the server.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.parked.is_some()
    }

    /// The step to put to the gate, once.
    pub fn take_step(&mut self) -> Option<Step> {
        self.step.take()
    }

    /// Takes in what the gate says to the step.
    pub fn stepped(&mut self, answer: Result<Course, Stop>) {
        let Some(parked) = self.parked.take() else { return };
        match (answer, self.current()) {
            (Ok(course), Some(flow)) => flow.goes_on(course),
            (Err(stop), Some(flow)) => {
                flow.stopped_by(stop.clone());
                return self.refuse_parked(&parked, &stop);
            }
            (Ok(_), None) => {}
            (Err(stop), None) => return self.refuse_parked(&parked, &stop),
        }
        match parked {
            Parked::Rows(run) => self.pass(run),
            Parked::Value(frame) => self.pass_value(&frame),
            Parked::Copy(run) => self.client_run(run),
        }
    }

    fn refuse_parked(&mut self, parked: &Parked, stop: &Stop) {
        match parked {
            Parked::Rows(_) => {
                self.stop(stop);
                self.cancel = true;
            }
            Parked::Value(_) => self.stop(stop),
            Parked::Copy(_) => {
                self.stop = Some(refusals::stopped(stop));
                self.fail_copy();
            }
        }
    }

    /// Lets rows go on to the next step, and parks what is behind it.
    pub(super) fn pass(&mut self, mut run: Run) {
        let behind = self.behind_step(&mut run);
        if run.continues() || run.begun() > 0 {
            self.rows(run);
        }
        if let Some(behind) = behind
            && self.stop.is_none()
        {
            self.park(Parked::Rows(behind));
        }
    }

    /// Parks the value of a FunctionCall where it must be asked about. Whether it did.
    pub(super) fn parks_value(&mut self, frame: &Frame) -> bool {
        let Some(in_force) = self.in_force.clone() else { return false };
        let asks = self.current().is_some_and(|flow| flow.is_asked_about(&in_force));
        if asks {
            self.park(Parked::Value(frame.clone()));
        }
        asks
    }

    /// Parks COPY data of the client where it must be asked about; returns what may go on.
    pub(super) fn copy_in(&mut self, run: Run) -> Option<Run> {
        let Some(in_force) = self.in_force.clone().filter(|_| !self.is_copying) else { return Some(run) };
        if self.current().is_some_and(|flow| flow.is_of_other_rules(&in_force)) {
            self.park(Parked::Copy(run));
            return None;
        }
        Some(run)
    }

    /// What has to be asked before a portal goes on.
    pub(super) fn resumption(&mut self, name: &str) -> Option<Step> {
        let in_force = self.in_force.clone()?;
        let (_, flow) = self.portals.portal_mut(name)?;
        let course = flow.course().filter(|_| flow.is_of_other_rules(&in_force))?;
        Some(Step { course: course.clone(), shown: None })
    }

    /// The gate has said whether a portal goes on.
    pub(super) fn resumed(&mut self, asking: Asking, answer: Result<Course, Stop>) {
        let Asking::Execute { name, max_rows } = asking else { return };
        let flow = self.portals.portal_mut(&name).map(|(_, flow)| flow);
        match answer {
            Ok(course) => {
                flow.into_iter().for_each(|flow| flow.goes_on(course.clone()));
                self.run_portal(name, max_rows);
            }
            Err(stop) => {
                flow.into_iter().for_each(|flow| flow.stopped_by(stop.clone()));
                self.refuse(Asking::Bind, refusals::stopped(&stop));
            }
        }
    }

    fn behind_step(&mut self, run: &mut Run) -> Option<Run> {
        if self.stop.is_some() || run.begun() == 0 {
            return None;
        }
        let in_force = self.in_force.clone()?;
        let flow = self.current()?;
        let count = flow.before_step(run, &in_force)?;
        run.split_off(count)
    }

    fn park(&mut self, parked: Parked) {
        self.step = self.current().and_then(|flow| flow.step());
        // Without a statement behind it there is nobody to ask: it goes on only where it need not be asked.
        self.parked = self.step.is_some().then_some(parked);
    }
}
