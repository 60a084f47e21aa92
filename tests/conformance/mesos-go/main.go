// Drives a master and an agent with the unmodified mesos-go v1 library and prints a line per thing it
// checked, first in protobuf, then in JSON.
//
//	usage: suite MASTER_HOST:PORT AGENT_HOST:PORT      as the scheduler and operator
//	       suite                                       as the custom executor (MESOS_* environment)
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/agent"
	agentcalls "github.com/mesos/mesos-go/api/v1/lib/agent/calls"
	"github.com/mesos/mesos-go/api/v1/lib/encoding"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpagent"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpmaster"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpsched"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	mastercalls "github.com/mesos/mesos-go/api/v1/lib/master/calls"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"
)

const patience = 60 * time.Second

var failures int

func check(codec, name string, run func() (string, error)) {
	text, err := run()
	if err != nil {
		failures++
		fmt.Printf("FAILED  %-9s %-20s %v\n", codec, name, err)
		return
	}
	fmt.Printf("ok      %-9s %-20s %s\n", codec, name, text)
}

// session is one subscribed framework; its events arrive in order on a channel.
type session struct {
	caller    calls.Caller
	events    chan *scheduler.Event
	id        string
	heartbeat float64
	cancel    context.CancelFunc
	held      []mesos.Offer
}

func client(endpoint string, codec encoding.Codec) *httpcli.Client {
	return httpcli.New(
		httpcli.Endpoint("http://"+endpoint),
		httpcli.Codec(codec),
		httpcli.Do(httpcli.With(httpcli.Timeout(patience))),
	)
}

func subscribe(endpoint string, codec encoding.Codec, name string) (*session, error) {
	timeout, user := 30.0, "root"
	info := &mesos.FrameworkInfo{User: user, Name: name, FailoverTimeout: &timeout, Checkpoint: new(bool)}
	*info.Checkpoint = true
	s := &session{events: make(chan *scheduler.Event, 1000)}
	s.caller = httpsched.NewCaller(client(endpoint+"/api/v1/scheduler", codec))
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	stream, err := s.caller.Call(ctx, calls.Subscribe(info))
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(s.events)
		defer stream.Close()
		for {
			event := new(scheduler.Event)
			if err := stream.Decode(event); err != nil {
				return
			}
			s.events <- event
		}
	}()
	event, err := s.next(func(e *scheduler.Event) bool { return true })
	if err != nil {
		return nil, err
	}
	if event.GetType() != scheduler.Event_SUBSCRIBED {
		return nil, fmt.Errorf("first event is %v", event.GetType())
	}
	s.id = event.GetSubscribed().GetFrameworkID().GetValue()
	s.heartbeat = event.GetSubscribed().GetHeartbeatIntervalSeconds()
	return s, nil
}

func (s *session) next(wanted func(*scheduler.Event) bool) (*scheduler.Event, error) {
	end := time.After(patience)
	for {
		select {
		case event, open := <-s.events:
			if !open {
				return nil, fmt.Errorf("the event stream ended")
			}
			if event.GetType() == scheduler.Event_OFFERS {
				s.held = append(s.held, event.GetOffers().GetOffers()...)
			}
			if event.GetType() == scheduler.Event_UPDATE && len(event.GetUpdate().GetStatus().UUID) > 0 {
				status := event.GetUpdate().GetStatus()
				ack := calls.Acknowledge(status.GetAgentID().GetValue(), status.TaskID.Value, status.UUID)
				if err := s.send(ack); err != nil {
					return nil, fmt.Errorf("acknowledge: %v", err)
				}
			}
			if wanted(event) {
				return event, nil
			}
		case <-end:
			return nil, fmt.Errorf("nothing came in %v", patience)
		}
	}
}

func (s *session) send(call *scheduler.Call) error {
	return calls.CallNoData(context.Background(), s.caller, call.With(calls.Framework(s.id)))
}

func (s *session) offer() (*mesos.Offer, error) {
	for {
		if len(s.held) > 0 {
			offer := s.held[0]
			s.held = s.held[1:]
			return &offer, nil
		}
		if _, err := s.next(func(e *scheduler.Event) bool { return e.GetType() == scheduler.Event_OFFERS }); err != nil {
			return nil, err
		}
	}
}

func (s *session) update(task string, states ...mesos.TaskState) (*mesos.TaskStatus, error) {
	event, err := s.next(func(e *scheduler.Event) bool {
		if e.GetType() != scheduler.Event_UPDATE || e.GetUpdate().GetStatus().TaskID.Value != task {
			return false
		}
		status := e.GetUpdate().GetStatus()
		for _, state := range states {
			if status.GetState() == state {
				return true
			}
		}
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("update of %s to %v: %v", task, states, err)
	}
	status := event.GetUpdate().GetStatus()
	return &status, nil
}

func amounts(cpus, mem float64) []mesos.Resource {
	scalar := func(name string, value float64) mesos.Resource {
		return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: value}}
	}
	return []mesos.Resource{scalar("cpus", cpus), scalar("mem", mem)}
}

func command(value string) *mesos.CommandInfo {
	return &mesos.CommandInfo{Value: &value}
}

func task(offer *mesos.Offer, name, value string) mesos.TaskInfo {
	return mesos.TaskInfo{
		TaskID: mesos.TaskID{Value: name}, Name: name, AgentID: offer.AgentID,
		Resources: amounts(0.1, 32), Command: command(value),
	}
}

func (s *session) launch(offer *mesos.Offer, tasks ...mesos.TaskInfo) error {
	return s.send(calls.Accept(
		calls.OfferOperations{calls.OpLaunch(tasks...)}.WithOffers(offer.ID),
	).With(calls.RefuseSeconds(0)))
}

func commandTasks(s *session) (string, error) {
	for i := 0; i < 20; i++ {
		offer, err := s.offer()
		if err != nil {
			return "", err
		}
		name := fmt.Sprintf("go-%02d", i)
		if err := s.launch(offer, task(offer, name, "exit 0")); err != nil {
			return "", err
		}
		status, err := s.update(name, mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_ERROR, mesos.TASK_LOST)
		if err != nil {
			return "", err
		}
		if status.GetState() != mesos.TASK_FINISHED {
			return "", fmt.Errorf("%s: %v %s", name, status.GetState(), status.GetMessage())
		}
	}
	return "20 tasks finished and acknowledged", nil
}

func killAndReconcile(s *session) (string, error) {
	offer, err := s.offer()
	if err != nil {
		return "", err
	}
	if err := s.launch(offer, task(offer, "go-sleep", "sleep 1000")); err != nil {
		return "", err
	}
	if _, err := s.update("go-sleep", mesos.TASK_RUNNING); err != nil {
		return "", err
	}
	tasks := map[string]string{"go-sleep": offer.AgentID.Value}
	if err := s.send(calls.Reconcile(calls.ReconcileTasks(tasks))); err != nil {
		return "", err
	}
	status, err := s.update("go-sleep", mesos.TASK_RUNNING)
	if err != nil {
		return "", err
	}
	if status.GetReason() != mesos.REASON_RECONCILIATION || len(status.UUID) > 0 {
		return "", fmt.Errorf("reconciliation answered %v", status)
	}
	if err := s.send(calls.Kill("go-sleep", "")); err != nil {
		return "", err
	}
	if _, err := s.update("go-sleep", mesos.TASK_KILLED); err != nil {
		return "", err
	}
	return "running task reconciled, then killed", nil
}

func customExecutor(s *session) (string, error) {
	offer, err := s.offer()
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	executor := &mesos.ExecutorInfo{
		Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: "go-executor"},
		FrameworkID: &mesos.FrameworkID{Value: s.id}, Command: command("exec " + self), Resources: amounts(0.1, 32),
	}
	work := task(offer, "go-custom", "")
	work.Command, work.Executor, work.Data = nil, executor, []byte("for the executor")
	if err := s.launch(offer, work); err != nil {
		return "", err
	}
	status, err := s.update("go-custom", mesos.TASK_RUNNING)
	if err != nil {
		return "", err
	}
	if string(status.Data) != "for the executor" {
		return "", fmt.Errorf("data came back as %q", status.Data)
	}
	if err := s.send(calls.Message(offer.AgentID.Value, "go-executor", []byte("finish"))); err != nil {
		return "", err
	}
	event, err := s.next(func(e *scheduler.Event) bool { return e.GetType() == scheduler.Event_MESSAGE })
	if err != nil {
		return "", err
	}
	if !bytes.Equal(event.GetMessage().Data, []byte("finish heard")) {
		return "", fmt.Errorf("message was %q", event.GetMessage().Data)
	}
	if _, err := s.update("go-custom", mesos.TASK_FINISHED); err != nil {
		return "", err
	}
	if err := s.send(calls.Shutdown("go-executor", offer.AgentID.Value)); err != nil {
		return "", err
	}
	event, err = s.next(func(e *scheduler.Event) bool { return e.GetType() == scheduler.Event_FAILURE })
	if err != nil {
		return "", err
	}
	return "task data, message both ways, finish, shutdown, failure of " + event.GetFailure().GetExecutorID().GetValue(), nil
}

func declineSuppressRevive(s *session) (string, error) {
	offer, err := s.offer()
	if err != nil {
		return "", err
	}
	steps := []*scheduler.Call{
		calls.Suppress(),
		calls.Decline(offer.ID).With(calls.RefuseSeconds(time.Hour)),
		calls.Revive(),
	}
	for _, step := range steps {
		if err := s.send(step); err != nil {
			return "", err
		}
	}
	s.held = nil
	if _, err := s.offer(); err != nil {
		return "", err
	}
	s.held = nil
	return "offered again after REVIVE", nil
}

// tooOld says that the library's JSON reader refuses the names of agent capabilities that came after it
// ("unrecognized enum"), so that answers holding agents are asked for in protobuf only.
func tooOld(codec encoding.Codec) bool { return codec.Type == codecs.MediaTypeJSON }

func operator(endpoint string, codec encoding.Codec) (string, error) {
	sender := httpmaster.NewSender(client(endpoint+"/api/v1", codec).Send)
	ask := func(call *master.Call) (*master.Response, error) {
		response, err := sender.Send(context.Background(), mastercalls.NonStreaming(call))
		if err != nil {
			return nil, fmt.Errorf("%v: %v", call.Type, err)
		}
		defer response.Close()
		answer := new(master.Response)
		if err := response.Decode(answer); err != nil && err != io.EOF {
			return nil, fmt.Errorf("%v: %v", call.Type, err)
		}
		return answer, nil
	}
	asked := []*master.Call{
		mastercalls.GetHealth(), mastercalls.GetFlags(), mastercalls.GetVersion(), mastercalls.GetMetrics(nil),
		mastercalls.GetLoggingLevel(), mastercalls.GetFrameworks(), mastercalls.GetExecutors(),
		mastercalls.GetTasks(), mastercalls.GetRoles(), mastercalls.GetWeights(),
		mastercalls.GetMaster(), mastercalls.GetMaintenanceStatus(), mastercalls.GetMaintenanceSchedule(),
		mastercalls.GetQuota(),
	}
	if !tooOld(codec) {
		asked = append(asked, mastercalls.GetState(), mastercalls.GetAgents())
	}
	for _, call := range asked {
		answer, err := ask(call)
		if err != nil {
			return "", err
		}
		if answer.Type.String() != call.Type.String() {
			return "", fmt.Errorf("%v answered by %v", call.Type, answer.Type)
		}
	}
	return fmt.Sprintf("%d reading calls answered", len(asked)), nil
}

func events(endpoint string, codec encoding.Codec) (string, error) {
	sender := httpmaster.NewSender(client(endpoint+"/api/v1", codec).Send)
	stream, err := sender.Send(context.Background(), mastercalls.NonStreaming(mastercalls.Subscribe()))
	if err != nil {
		return "", err
	}
	defer stream.Close()
	seen := ""
	for i := 0; i < 2; i++ {
		event := new(master.Event)
		if err := stream.Decode(event); err != nil {
			return "", err
		}
		seen += " " + event.GetType().String()
	}
	// The library is older than HEARTBEAT and prints its number.
	if seen != " SUBSCRIBED 9" {
		return "", fmt.Errorf("the stream began with%s", seen)
	}
	return "stream begins with SUBSCRIBED HEARTBEAT", nil
}

func agentOperator(endpoint string, codec encoding.Codec) (string, error) {
	sender := httpagent.NewSender(client(endpoint+"/api/v1", codec).Send)
	asked := []*agent.Call{
		agentcalls.GetHealth(), agentcalls.GetFlags(), agentcalls.GetVersion(), agentcalls.GetMetrics(nil),
		agentcalls.GetLoggingLevel(), agentcalls.GetState(), agentcalls.GetContainers(), agentcalls.GetFrameworks(),
		agentcalls.GetExecutors(), agentcalls.GetTasks(), agentcalls.GetAgent(),
	}
	for _, call := range asked {
		response, err := sender.Send(context.Background(), agentcalls.NonStreaming(call))
		if err != nil {
			return "", fmt.Errorf("%v: %v", call.Type, err)
		}
		answer := new(agent.Response)
		err = response.Decode(answer)
		response.Close()
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("%v: %v", call.Type, err)
		}
		if answer.Type.String() != call.Type.String() {
			return "", fmt.Errorf("%v answered by %v", call.Type, answer.Type)
		}
	}
	return fmt.Sprintf("%d reading calls answered", len(asked)), nil
}

func main() {
	if os.Getenv("MESOS_EXECUTOR_ID") != "" {
		if err := runExecutor(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	masterEndpoint, agentEndpoint := os.Args[1], os.Args[2]
	for _, media := range []encoding.MediaType{codecs.MediaTypeProtobuf, codecs.MediaTypeJSON} {
		codec := codecs.ByMediaType[media]
		name := map[encoding.MediaType]string{codecs.MediaTypeProtobuf: "protobuf", codecs.MediaTypeJSON: "json"}[media]
		check(name, "operator", func() (string, error) { return operator(masterEndpoint, codec) })
		if !tooOld(codec) {
			check(name, "events", func() (string, error) { return events(masterEndpoint, codec) })
		}
		check(name, "agent", func() (string, error) { return agentOperator(agentEndpoint, codec) })
		var s *session
		check(name, "subscribe", func() (text string, err error) {
			if s, err = subscribe(masterEndpoint, codec, "mesos-go suite "+name); err != nil {
				return "", err
			}
			return fmt.Sprintf("heartbeat every %v s", s.heartbeat), nil
		})
		if s == nil {
			continue
		}
		check(name, "command tasks", func() (string, error) { return commandTasks(s) })
		check(name, "kill, reconcile", func() (string, error) { return killAndReconcile(s) })
		check(name, "custom executor", func() (string, error) { return customExecutor(s) })
		check(name, "decline, revive", func() (string, error) { return declineSuppressRevive(s) })
		check(name, "teardown", func() (string, error) {
			call := &scheduler.Call{Type: scheduler.Call_TEARDOWN}
			return "accepted", s.send(call)
		})
		s.cancel()
	}
	fmt.Printf("%d failed\n", failures)
	if failures > 0 {
		os.Exit(1)
	}
}
