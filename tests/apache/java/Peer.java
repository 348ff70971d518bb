import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONArray;
import com.alibaba.fastjson.JSONObject;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Apache's Java client, driven by lines. A line of the standard input is a command, a JSON object whose "do" names it. Each is
 * answered by one line: {"ok":...} or {"error":...}. What a client is given to handle is a line of its own: {"message":{...}}.
 * The end of the input is the end of all clients. Bodies are in hexadecimal.
 */
public class Peer {
    interface Command {
        Object run(JSONObject in) throws Exception;
    }

    private static final int TIMEOUT_MILLIS = 30_000;
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    private final String nameServer;
    private final Map<String, Command> commands = new HashMap<>();
    private final Map<String, DefaultMQPushConsumer> consumers = new HashMap<>();
    private String producerGroup = "java_producers";
    private TransactionMQProducer producer;

    private Peer(String nameServer) {
        this.nameServer = nameServer;
        commands.put("send", this::send);
        commands.put("batch", this::batch);
        commands.put("transaction", this::transaction);
        commands.put("request", this::request);
        commands.put("recall", this::recall);
        commands.put("group", this::group);
        commands.put("consume", this::consume);
        commands.put("poll", this::poll);
        commands.put("queues", this::queues);
        commands.put("stop", this::stop);
    }

    public static void main(String[] args) throws Exception {
        // What the client's logging says of itself is not an answer.
        System.setOut(System.err);
        Peer peer = new Peer(args[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            peer.answer(JSON.parseObject(line));
        }
        peer.consumers.values().forEach(DefaultMQPushConsumer::shutdown);
        if (peer.producer != null) {
            peer.producer.shutdown();
        }
        System.exit(0);
    }

    private void answer(JSONObject in) {
        try {
            print("ok", commands.get(in.getString("do")).run(in));
        } catch (Exception e) {
            e.printStackTrace();
            print("error", e.toString());
        }
    }

    private static void print(String kind, Object value) {
        OUT.println(JSON.toJSONString(new JSONObject().fluentPut(kind, value), SerializerFeature.WriteMapNullValue));
    }

    private static void printMessage(String client, MessageExt message) {
        print("message", received(message).fluentPut("client", client));
    }

    /** A message, and "queue" (its number) or "shardingKey". */
    private Object send(JSONObject in) throws Exception {
        Message message = message(in);
        if (in.containsKey("queue")) {
            return sent(producer().send(message, (queues, m, queue) -> queues.get((int) queue), in.getInteger("queue")));
        }
        if (in.containsKey("shardingKey")) {
            return sent(producer().send(message, new SelectMessageQueueByHash(), in.getString("shardingKey")));
        }
        return sent(producer().send(message));
    }

    /** "messages", of one topic. */
    private Object batch(JSONObject in) throws Exception {
        List<Message> messages = new ArrayList<>();
        JSONArray given = in.getJSONArray("messages");
        for (int i = 0; i < given.size(); i++) {
            messages.add(message(given.getJSONObject(i)));
        }
        return sent(producer().send(messages));
    }

    /** "topic", "handle". The id of the message that is not delivered. */
    private Object recall(JSONObject in) throws Exception {
        return call(producer(), "recallMessage", in.getString("topic"), in.getString("handle"));
    }

    /** "group": the producer's, before it is used. */
    private Object group(JSONObject in) {
        producerGroup = in.getString("group");
        return null;
    }

    /** A message; "state" is what the local transaction ends with; the message's property "checked" what a check answers. */
    private Object transaction(JSONObject in) throws Exception {
        return sent(producer().sendMessageInTransaction(message(in), LocalTransactionState.valueOf(in.getString("state"))));
    }

    /** A message. Its reply's properties and body. */
    private Object request(JSONObject in) throws Exception {
        Message reply = producer().request(message(in), TIMEOUT_MILLIS);
        return new JSONObject().fluentPut("properties", reply.getProperties()).fluentPut("body", HexFormat.of().formatHex(reply.getBody()));
    }

    /**
     * "as" (the name of this consumer), "group", "topic", "tags" or "sql", "broadcast", "orderly"; "failures": how often each message fails;
     * "reply": a body to answer requests with; "threads": how many handle messages. It begins at the first offset.
     */
    private Object consume(JSONObject in) throws Exception {
        String name = in.getString("as");
        DefaultMQPushConsumer consumer = configured(new DefaultMQPushConsumer(in.getString("group")), name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(in.getString("topic"), in.containsKey("sql") ? MessageSelector.bySql(in.getString("sql"))
            : MessageSelector.byTag(in.getString("tags")));
        if (in.getBooleanValue("broadcast")) {
            // By its name: the enum's package is another one in 4.9 than in 5.x.
            consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
        }
        if (in.containsKey("threads")) {
            consumer.setConsumeThreadMin(in.getIntValue("threads"));
            consumer.setConsumeThreadMax(in.getIntValue("threads"));
        }
        if (in.getBooleanValue("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> handle(in, messages)
                ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> handle(in, messages)
                ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        consumer.start();
        consumers.put(name, consumer);
        return null;
    }

    /** "group", "topic", "tags". Polls with a lite-pull consumer until messages come, commits and ends it. */
    private Object poll(JSONObject in) throws Exception {
        DefaultLitePullConsumer consumer = configured(new DefaultLitePullConsumer(in.getString("group")), in.getString("group"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(false);
        consumer.subscribe(in.getString("topic"), in.getString("tags"));
        consumer.start();
        List<MessageExt> messages = consumer.poll(TIMEOUT_MILLIS);
        messages.forEach(message -> printMessage("poll", message));
        consumer.commitSync();
        consumer.shutdown();
        return messages.size();
    }

    private boolean handle(JSONObject in, List<MessageExt> messages) {
        for (MessageExt message : messages) {
            printMessage(in.getString("as"), message);
            if (message.getReconsumeTimes() < in.getIntValue("failures")) {
                return false;
            }
            if (in.containsKey("reply")) {
                try {
                    producer().send(MessageUtil.createReplyMessage(message, HexFormat.of().parseHex(in.getString("reply"))));
                } catch (Exception e) {
                    e.printStackTrace();
                    return false;
                }
            }
        }
        return true;
    }

    /** "as", "topic". The numbers of the queues that the consumer has. */
    private Object queues(JSONObject in) {
        return consumers.get(in.getString("as")).getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()
            .stream().filter(queue -> queue.getTopic().equals(in.getString("topic"))).map(MessageQueue::getQueueId).sorted()
            .collect(Collectors.toList());
    }

    /** "as". */
    private Object stop(JSONObject in) {
        consumers.remove(in.getString("as")).shutdown();
        return null;
    }

    private synchronized TransactionMQProducer producer() throws Exception {
        if (producer == null) {
            producer = configured(new TransactionMQProducer(producerGroup), "producer");
            producer.setSendMsgTimeout(TIMEOUT_MILLIS);
            producer.setTransactionListener(new TransactionListener() {
                @Override
                public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                    return (LocalTransactionState) state;
                }

                @Override
                public LocalTransactionState checkLocalTransaction(MessageExt message) {
                    printMessage("check", message);
                    return LocalTransactionState.valueOf(message.getUserProperty("checked"));
                }
            });
            producer.start();
        }
        return producer;
    }

    private <C extends ClientConfig> C configured(C client, String name) {
        client.setNamesrvAddr(nameServer);
        // Clients of one name share connections, routes and an identity.
        client.setInstanceName(name);
        // The machines that tests run on are busy.
        client.setMqClientApiTimeout(TIMEOUT_MILLIS);
        return client;
    }

    /** "topic", "body", "tag", "keys" (with spaces between), "flag", "delayLevel", "delayMillis", "deliverMillis", "properties". */
    private static Message message(JSONObject in) throws Exception {
        Message message = new Message(in.getString("topic"), in.getString("tag"), in.getString("keys"), in.getIntValue("flag"),
            HexFormat.of().parseHex(in.getString("body")), true);
        if (in.containsKey("delayLevel")) {
            message.setDelayTimeLevel(in.getIntValue("delayLevel"));
        }
        if (in.containsKey("delayMillis")) {
            call(message, "setDelayTimeMs", in.getLong("delayMillis"));
        }
        if (in.containsKey("deliverMillis")) {
            call(message, "setDeliverTimeMs", in.getLong("deliverMillis"));
        }
        JSONObject properties = in.getJSONObject("properties");
        if (properties != null) {
            properties.forEach((key, value) -> message.putUserProperty(key, (String) value));
        }
        return message;
    }

    /** Calls what 4.9 does not have. */
    private static Object call(Object object, String name, Object... arguments) throws Exception {
        for (Method method : object.getClass().getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() == arguments.length) {
                return method.invoke(object, arguments);
            }
        }
        throw new NoSuchMethodException(name);
    }

    private static JSONObject sent(SendResult result) {
        return new JSONObject().fluentPut("status", result.getSendStatus().name()).fluentPut("msgId", result.getMsgId())
            .fluentPut("offsetMsgId", result.getOffsetMsgId()).fluentPut("queueOffset", result.getQueueOffset())
            .fluentPut("queueId", result.getMessageQueue().getQueueId())
            .fluentPut("brokerName", result.getMessageQueue().getBrokerName())
            .fluentPut("transactionId", result.getTransactionId())
            // Not in 4.9.
            .fluentPut("recallHandle", ((JSONObject) JSON.toJSON(result)).get("recallHandle"));
    }

    private static JSONObject received(MessageExt message) {
        Map<String, String> properties = new HashMap<>(message.getProperties());
        // These are the receiving client's, not the message's.
        properties.remove(MessageConst.PROPERTY_MIN_OFFSET);
        properties.remove(MessageConst.PROPERTY_MAX_OFFSET);
        properties.remove(MessageConst.PROPERTY_CONSUME_START_TIMESTAMP);
        String offsetMsgId = message instanceof MessageClientExt ? ((MessageClientExt) message).getOffsetMsgId() : message.getMsgId();
        return new JSONObject().fluentPut("topic", message.getTopic()).fluentPut("brokerName", message.getBrokerName())
            .fluentPut("queueId", message.getQueueId()).fluentPut("queueOffset", message.getQueueOffset())
            .fluentPut("commitLogOffset", message.getCommitLogOffset()).fluentPut("msgId", message.getMsgId())
            .fluentPut("offsetMsgId", offsetMsgId).fluentPut("tag", message.getTags()).fluentPut("keys", message.getKeys())
            .fluentPut("flag", message.getFlag()).fluentPut("properties", properties)
            .fluentPut("reconsumeTimes", message.getReconsumeTimes()).fluentPut("bornTimestamp", message.getBornTimestamp())
            .fluentPut("bornHost", host(message.getBornHost())).fluentPut("storeTimestamp", message.getStoreTimestamp())
            .fluentPut("storeHost", host(message.getStoreHost()))
            .fluentPut("body", HexFormat.of().formatHex(message.getBody()));
    }

    private static String host(SocketAddress address) {
        InetSocketAddress host = (InetSocketAddress) address;
        return host.getAddress().getHostAddress() + ":" + host.getPort();
    }
}
