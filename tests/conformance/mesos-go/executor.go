package main

import (
	"context"
	"fmt"
	"io"

	"github.com/google/uuid"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/encoding/codecs"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/executor/calls"
	"github.com/mesos/mesos-go/api/v1/lib/executor/config"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli"
	"github.com/mesos/mesos-go/api/v1/lib/httpcli/httpexec"
)

// runExecutor answers each task with RUNNING and the task's own data, and finishes it on the message "finish".
func runExecutor() error {
	settings, err := config.FromEnv()
	if err != nil {
		return err
	}
	codec := codecs.ByMediaType[codecs.MediaTypeProtobuf]
	cli := httpcli.New(
		httpcli.Endpoint("http://"+settings.AgentEndpoint+"/api/v1/executor"),
		httpcli.Codec(codec),
	)
	sender := calls.SenderWith(
		httpexec.NewSender(cli.Send), calls.Framework(settings.FrameworkID), calls.Executor(settings.ExecutorID),
	)
	update := func(task mesos.TaskID, state mesos.TaskState, data []byte) error {
		id := uuid.New()
		source := mesos.SOURCE_EXECUTOR
		return calls.SendNoData(context.Background(), sender, calls.NonStreaming(calls.Update(mesos.TaskStatus{
			TaskID: task, State: &state, Source: &source, UUID: id[:], Data: data,
			ExecutorID: &mesos.ExecutorID{Value: settings.ExecutorID},
		})))
	}
	stream, err := sender.Send(context.Background(), calls.NonStreaming(calls.Subscribe(nil, nil)))
	if err != nil {
		return err
	}
	defer stream.Close()
	var running []mesos.TaskID
	for {
		event := new(executor.Event)
		if err := stream.Decode(event); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch event.GetType() {
		case executor.Event_LAUNCH:
			task := event.GetLaunch().GetTask()
			running = append(running, task.TaskID)
			err = update(task.TaskID, mesos.TASK_RUNNING, task.Data)
		case executor.Event_MESSAGE:
			answer := append(event.GetMessage().Data, []byte(" heard")...)
			err = calls.SendNoData(context.Background(), sender, calls.NonStreaming(calls.Message(answer)))
			for _, task := range running {
				if err == nil {
					err = update(task, mesos.TASK_FINISHED, nil)
				}
			}
			running = nil
		case executor.Event_SHUTDOWN:
			return nil
		case executor.Event_ERROR:
			return fmt.Errorf("error event: %s", event.GetError().GetMessage())
		}
		if err != nil {
			return err
		}
	}
}
