//! Requests to vacate, and their answers.

use mezzo_mesos::v1::{self, allocator::inverse_offer_status::Status, scheduler::call};

use crate::{
    Answer,
    testing::{World, call, framework_info},
};

fn answer(r#type: call::Type, id: &v1::OfferId) -> v1::scheduler::Call {
    let inverse_offer_ids = vec![id.clone(), v1::OfferId { value: "unknown".into() }];
    call(r#type, |call| match r#type {
        call::Type::AcceptInverseOffers => {
            let accept = call::AcceptInverseOffers { inverse_offer_ids, ..Default::default() };
            call.accept_inverse_offers = Some(accept);
        }
        _ => {
            let decline = call::DeclineInverseOffers { inverse_offer_ids, ..Default::default() };
            call.decline_inverse_offers = Some(decline);
        }
    })
}

#[test]
fn rule_279_and_280_answers_are_recorded_and_nothing_stops() {
    let cases = [
        (call::Type::AcceptInverseOffers, Status::Accept),
        (call::Type::DeclineInverseOffers, Status::Decline),
    ];
    for (r#type, status) in cases {
        let mut world = World::new();
        let (scheduler, agent) = world.running(framework_info());
        let hostname = world.master.state.agents[&agent.id].info.hostname.clone();
        let unavailability = v1::Unavailability { start: v1::TimeInfo { nanoseconds: 5 }, duration: None };
        let machine = crate::state::Machine {
            info: v1::MachineInfo {
                id: v1::MachineId { hostname: Some(hostname), ip: None },
                mode: Some(v1::machine_info::Mode::Draining.into()),
                unavailability: Some(unavailability),
            },
            statuses: Vec::new(),
        };
        world.master.state.machines = vec![machine].into();
        world.master.allocator.set_unavailability(&agent.id, Some(unavailability));
        world.pass(2.0);
        let events = world.events(&scheduler);
        let offer = events
            .into_iter()
            .filter_map(|event| event.inverse_offers)
            .flat_map(|offers| offers.inverse_offers)
            .next()
            .expect("the framework runs something there");
        assert!(offer.resources.is_empty());
        assert_eq!(offer.agent_id.map(|id| id.value), Some(agent.id.to_string()));
        assert_eq!(offer.unavailability, unavailability);
        assert_eq!(world.call(&scheduler, answer(r#type, &offer.id)), Answer::Accepted);
        let statuses = &world.master.state.machines[0].statuses;
        assert_eq!(statuses.len(), 1);
        assert_eq!(statuses[0].status(), status);
        assert_eq!(statuses[0].framework_id.value, scheduler.id.as_str());
        assert!(world.master.inverse_offer_agents.is_empty());
        assert!(world.master.task(&scheduler.id, &"t".into()).is_some());
        // An answer to what is not outstanding any more changes nothing.
        world.call(&scheduler, answer(r#type, &offer.id));
        assert_eq!(world.master.state.machines[0].statuses.len(), 1);
    }
}
