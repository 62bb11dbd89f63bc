// Sends every case with the official SDK: by its sarama binding to Kafka, by its client over HTTP, and one batch.
// Arguments: cases file, bootstrap server, topic, URL. Prints one JSON line an event, in the order of sending.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

type Case struct {
	Case            string          `json:"case"`
	DataContentType *string         `json:"datacontenttype"`
	DataSchema      *string         `json:"dataschema"`
	Subject         json.RawMessage `json:"subject"`
	Time            json.RawMessage `json:"time"`
	Extensions      map[string]any  `json:"extensions"`
	Data            struct {
		JSON  any     `json:"json"`
		Text  *string `json:"text"`
		Bytes []byte  `json:"bytes"`
	} `json:"data"`
}

type Said struct {
	Case    string `json:"case"`
	Binding string `json:"binding"`
	Mode    string `json:"mode"`
	Refused string `json:"refused,omitempty"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// text reads a member that is absent (the default holds), null (not set) or a string.
func text(raw json.RawMessage, otherwise string) string {
	if raw != nil {
		otherwise = ""
		must(json.Unmarshal(raw, &otherwise))
	}
	return otherwise
}

func made(one Case, id string) (cloudevents.Event, error) {
	event := cloudevents.NewEvent()
	event.SetID(id)
	event.SetType("prompt")
	event.SetSource("/go")
	event.SetSubject(text(one.Subject, "ann"))
	if at := text(one.Time, "2026-11-20T12:30:00.123Z"); at != "" {
		parsed, err := time.Parse(time.RFC3339Nano, at)
		must(err)
		event.SetTime(parsed)
	}
	if one.DataSchema != nil {
		event.SetDataSchema(*one.DataSchema)
	}
	for name, value := range one.Extensions {
		if number, ok := value.(float64); ok {
			value = int(number)
		}
		event.SetExtension(name, value)
	}
	var data any
	if one.Data.JSON != nil {
		data = one.Data.JSON
	} else if one.Data.Text != nil {
		data = *one.Data.Text
	} else if one.Data.Bytes != nil {
		data = one.Data.Bytes
	}
	contentType := ""
	if one.DataContentType != nil {
		contentType = *one.DataContentType
	}
	if data == nil {
		if contentType != "" {
			event.SetDataContentType(contentType)
		}
		return event, nil
	}
	return event, event.SetData(contentType, data)
}

func send(one Case, protocol, mode string, sender *kafka_sarama.Sender, client cloudevents.Client, url string) error {
	event, err := made(one, one.Case+"."+protocol+"."+mode)
	if err != nil {
		return err
	}
	ctx := cloudevents.WithEncodingBinary(context.Background())
	if mode == "structured" {
		ctx = cloudevents.WithEncodingStructured(context.Background())
	}
	if protocol == "kafka" {
		if err := event.Validate(); err != nil {
			return err
		}
		return sender.Send(ctx, binding.ToMessage(&event))
	}
	if result := client.Send(cloudevents.ContextWithTarget(ctx, url), event); cloudevents.IsUndelivered(result) {
		return result
	}
	return nil
}

func sendBatch(cases []Case, url string) error {
	var events []cloudevents.Event
	for _, one := range cases[:3] {
		event, err := made(one, one.Case+".http.batch")
		if err != nil {
			return err
		}
		events = append(events, event)
	}
	request, err := cehttp.NewHTTPRequestFromEvents(context.Background(), url, events)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		response.Body.Close()
	}
	return err
}

func say(said Said, err error) {
	if err != nil {
		said.Refused = strings.SplitN(err.Error(), "\n", 2)[0]
	}
	line, err := json.Marshal(said)
	must(err)
	fmt.Println(string(line))
}

func main() {
	file, server, topic, url := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	content, err := os.ReadFile(file)
	must(err)
	var cases []Case
	must(json.Unmarshal(content, &cases))
	config := sarama.NewConfig()
	config.Version = sarama.V2_0_0_0
	sender, err := kafka_sarama.NewSender([]string{server}, config, topic)
	must(err)
	client, err := cloudevents.NewClientHTTP()
	must(err)
	for _, one := range cases {
		for _, protocol := range []string{"kafka", "http"} {
			for _, mode := range []string{"binary", "structured"} {
				say(Said{one.Case, protocol, mode, ""}, send(one, protocol, mode, sender, client, url))
			}
		}
	}
	say(Said{"batch", "http", "batch", ""}, sendBatch(cases, url))
	must(sender.Close(context.Background()))
}
