// Sends every case with the official SDK: by its Kafka serializer, and by its HTTP writer over HttpURLConnection.
// Arguments: cases file, bootstrap server, topic, URL. Prints one JSON line an event, in the order of sending.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.message.Encoding;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.jackson.JsonCloudEventData;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.CloudEventSerializer;
import io.cloudevents.kafka.PartitionKeyExtensionInterceptor;
import java.io.File;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Send {
    private static final ObjectMapper JSON = new ObjectMapper();

    private static CloudEvent made(JsonNode one, String id) throws Exception {
        CloudEventBuilder builder = CloudEventBuilder.v1()
            .withId(id).withType("prompt").withSource(URI.create("/java"));
        String subject = text(one, "subject", "ann");
        if (subject != null) builder.withSubject(subject);
        String time = text(one, "time", "2026-11-20T12:30:00.123Z");
        if (time != null) builder.withTime(OffsetDateTime.parse(time));
        if (one.has("dataschema")) builder.withDataSchema(URI.create(one.get("dataschema").asText()));
        for (var extension : (Iterable<Map.Entry<String, JsonNode>>) () -> one.path("extensions").fields()) {
            JsonNode value = extension.getValue();
            if (value.isBoolean()) builder.withExtension(extension.getKey(), value.asBoolean());
            else if (value.isInt()) builder.withExtension(extension.getKey(), (Integer) value.asInt());
            else builder.withExtension(extension.getKey(), value.asText());
        }
        if (one.has("datacontenttype")) builder.withDataContentType(one.get("datacontenttype").asText());
        JsonNode data = one.get("data");
        if (data.has("json")) builder.withData(JsonCloudEventData.wrap(data.get("json")));
        else if (data.has("text")) builder.withData(data.get("text").asText().getBytes(StandardCharsets.UTF_8));
        else if (data.has("bytes")) builder.withData(data.get("bytes").binaryValue());
        return builder.build();
    }

    private static String text(JsonNode one, String name, String otherwise) {
        if (!one.has(name)) return otherwise;
        return one.get(name).isNull() ? null : one.get(name).asText();
    }

    private static KafkaProducer<String, CloudEvent> producer(String server, Encoding encoding) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", server);
        config.put("interceptor.classes", PartitionKeyExtensionInterceptor.class.getName());
        config.put(CloudEventSerializer.ENCODING_CONFIG, encoding);
        config.put(CloudEventSerializer.EVENT_FORMAT_CONFIG, JsonFormat.CONTENT_TYPE);
        CloudEventSerializer serializer = new CloudEventSerializer();
        serializer.configure(config, false);
        return new KafkaProducer<>(config, new StringSerializer(), serializer);
    }

    private static void post(CloudEvent event, String mode, String url) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
        connection.setRequestMethod("POST");
        connection.setDoOutput(true);
        var writer = HttpMessageFactory.createWriter(connection::setRequestProperty, body -> {
            try {
                connection.getOutputStream().write(body == null ? new byte[0] : body);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        });
        if (mode.equals("binary")) writer.writeBinary(event);
        else writer.writeStructured(event, JsonFormat.CONTENT_TYPE);
        connection.getResponseCode();
        connection.disconnect();
    }

    public static void main(String[] arguments) throws Exception {
        String server = arguments[1], topic = arguments[2], url = arguments[3];
        var binary = producer(server, Encoding.BINARY);
        var structured = producer(server, Encoding.STRUCTURED);
        for (JsonNode one : JSON.readTree(new File(arguments[0]))) {
            for (String binding : new String[] {"kafka", "http"}) {
                for (String mode : new String[] {"binary", "structured"}) {
                    ObjectNode said = JSON.createObjectNode();
                    said.put("case", one.get("case").asText()).put("binding", binding).put("mode", mode);
                    try {
                        CloudEvent event = made(one, one.get("case").asText() + "." + binding + "." + mode);
                        if (binding.equals("http")) post(event, mode, url);
                        else (mode.equals("binary") ? binary : structured).send(new ProducerRecord<>(topic, event)).get();
                    } catch (Exception error) {
                        said.put("refused", String.valueOf(error).split("\n")[0]);
                    }
                    System.out.println(said);
                }
            }
        }
        binary.close();
        structured.close();
    }
}
